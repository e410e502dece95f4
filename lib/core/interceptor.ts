import type { Json } from './json-rpc.ts';
import type { Request } from './request.ts';

/** The MCP result as the server sent it, unknown fields kept. */
export type Response = Json;
export type Handler = (request: Request) => Promise<Response>;
/** A layer around the rest of the path. One with nothing to do returns `next(request)` without an `async` frame. */
export type Interceptor = (next: Handler) => Handler;

/** Wraps `terminal` so that the first interceptor listed is the outermost. */
export function compose(interceptors: readonly Interceptor[], terminal: Handler): Handler {
  return interceptors.reduceRight<Handler>((next, wrap) => wrap(next), terminal);
}

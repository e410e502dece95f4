import { TroupeError } from '../../core/errors.ts';
import type { ListKind } from '../../core/events.ts';
import { isJson, type Json } from '../../core/json-rpc.ts';
import type { Limits } from '../../core/limits.ts';
import type { Session, SessionRequest } from './session.ts';

export const LIST_METHODS: Readonly<Record<ListKind, string>> = {
  tools: 'tools/list',
  resources: 'resources/list',
  resourceTemplates: 'resources/templates/list',
  prompts: 'prompts/list',
};

/** All pages of one list of one session, raw. */
export interface RawList {
  readonly items: readonly unknown[];
  /** The protocol's hints, where the server gave them: shortest time and strictest scope of the pages. */
  readonly ttlMs: number | undefined;
  readonly cacheScope: 'public' | 'private' | undefined;
  /** Why the list ends early: a limit, a cursor that never ends. */
  readonly cut: TroupeError | undefined;
}

type Ask = (request: SessionRequest) => Promise<Json>;

/**
 * Walks all pages of a list. A list that passes a limit is cut there, with the reason beside the items; one malformed
 * page is an error. A feature that the server does not advertise lists as empty, without a message on the wire.
 */
export async function listAll(
  session: Session,
  kind: ListKind,
  options: {
    readonly limits: Limits;
    readonly cancellation: SessionRequest['cancellation'];
    readonly server: string;
    readonly ask?: Ask;
  },
): Promise<RawList> {
  const method = LIST_METHODS[kind];
  const { limits, cancellation, server } = options;
  const items: unknown[] = [];
  let ttlMs: number | undefined;
  let cacheScope: RawList['cacheScope'];
  const ended = (cut?: string): RawList => ({
    items,
    ttlMs,
    cacheScope,
    cut:
      cut === undefined
        ? undefined
        : new TroupeError('limit_exceeded', `${method} was cut: ${cut}`, { server, delivery: 'answered' }),
  });
  if (!session.supports(method)) return ended();
  const ask = options.ask ?? ((request) => session.request(request));
  const seen = new Set<string>();
  let cursor: string | undefined;
  let bytes = 0;
  for (let page = 1; ; page += 1) {
    const result = await ask({ method, params: cursor === undefined ? undefined : { cursor }, cancellation });
    const entries = result[kind];
    if (!Array.isArray(entries)) {
      throw new TroupeError('invalid_response', `${method} answered without an array "${kind}"`, {
        server,
        delivery: 'answered',
      });
    }
    bytes += approximateBytes(entries, limits.listBytes - bytes);
    if (bytes > limits.listBytes) return ended(`more than ${limits.listBytes} bytes`);
    for (const entry of entries as unknown[]) {
      if (items.length >= limits.listItems) return ended(`more than ${limits.listItems} items`);
      items.push(entry);
    }
    if (typeof result['ttlMs'] === 'number') ttlMs = Math.min(ttlMs ?? Infinity, result['ttlMs']);
    const scope = result['cacheScope'];
    if (scope === 'private' || (scope === 'public' && cacheScope === undefined)) cacheScope = scope;
    const next = result['nextCursor'];
    if (typeof next !== 'string') return ended();
    if (seen.has(next)) return ended(`the cursor ${JSON.stringify(next.slice(0, 64))} came twice`);
    if (page >= limits.listPages) return ended(`more than ${limits.listPages} pages`);
    seen.add(next);
    cursor = next;
  }
}

/** Size of a parsed value, near enough for a limit: characters of its strings and keys. Stops counting past `budget`. */
function approximateBytes(value: unknown, budget: number): number {
  let bytes = 0;
  const stack: unknown[] = [value];
  while (stack.length > 0 && bytes <= budget) {
    const next = stack.pop();
    if (typeof next === 'string') bytes += next.length + 2;
    else if (Array.isArray(next)) for (const item of next) stack.push(item);
    else if (isJson(next)) {
      for (const key in next) {
        bytes += key.length + 4;
        stack.push(next[key]);
      }
    } else bytes += 5;
  }
  return bytes;
}

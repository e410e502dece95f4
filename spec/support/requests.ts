import { Cancellation } from '../../lib/core/cancellation.ts';
import { type ErrorCode, type ErrorFacts, TroupeError, isError } from '../../lib/core/errors.ts';
import type { Handler, Response } from '../../lib/core/interceptor.ts';
import type { Request } from '../../lib/core/request.ts';

let seq = 0;

/** A request as the engine makes it: `tools/call` of `alpha`, unsafe, with 60 s (on a virtual clock that starts at 1 000). */
export function requestOf(change: Partial<Request> = {}): Request {
  return Object.freeze({
    seq: ++seq,
    method: 'tools/call',
    params: { name: 'echo', arguments: { message: 'hi' } },
    server: 'alpha',
    target: 'alpha__echo',
    operation: 'unsafe',
    deadline: 61_000,
    startedAt: 1_000,
    cancellation: new Cancellation(),
    onProgress: undefined,
    principal: undefined,
    affinity: undefined,
    cache: 'use',
    batch: false,
    meta: undefined,
    attempt: 1,
    tried: [],
    facts: { attempts: 0, rounds: 0 },
    ...change,
  });
}

/** A read as the engine makes it. */
export function readOf(uri: string, change: Partial<Request> = {}): Request {
  return requestOf({ method: 'resources/read', params: { uri }, target: uri, operation: 'read', ...change });
}

export function failure(code: ErrorCode, facts: ErrorFacts = {}): TroupeError {
  return new TroupeError(code, `scripted ${code}`, { server: 'alpha', ...facts });
}

/** A call that a scripted handler received and has not answered yet. */
export interface HeldCall {
  readonly request: Request;
  reply(response?: Response): void;
  fail(error: unknown): void;
}

/**
 * A handler that holds every request until the spec answers it, and rejects it when the request is cancelled, as the
 * dispatcher does. `deaf` ignores cancellations.
 */
export function heldHandler({ deaf = false } = {}): Handler & { readonly calls: HeldCall[] } {
  const calls: HeldCall[] = [];
  const handler = (request: Request): Promise<Response> =>
    new Promise((resolve, reject) => {
      request.facts.attempts++;
      calls.push({ request, reply: (response = { content: [] }) => resolve(response), fail: reject });
      if (!deaf) request.cancellation.listen((reason) => reject(reason.with({ delivery: 'sent' })));
    });
  return Object.assign(handler, { calls });
}

/** A handler that gives one scripted outcome per call, the last one for ever; an Error is thrown. */
export function scriptedHandler(
  ...outcomes: Array<Response | Error>
): Handler & { readonly requests: Request[] } {
  const requests: Request[] = [];
  const handler = async (request: Request): Promise<Response> => {
    requests.push(request);
    request.facts.attempts++;
    const outcome = outcomes[Math.min(requests.length, outcomes.length) - 1];
    if (isError(outcome)) throw outcome;
    return outcome ?? {};
  };
  return Object.assign(handler, { requests });
}

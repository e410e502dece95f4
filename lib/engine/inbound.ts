import type { Host } from '../config/config.ts';
import type { Clock } from '../core/clock.ts';
import { TroupeError, errorText, isTroupeError } from '../core/errors.ts';
import type { Emit } from '../core/events.ts';
import { isJson, type Json } from '../core/json-rpc.ts';
import type { Logger } from '../core/ports.ts';
import type { Principal } from '../core/request.ts';
import type { HostDoor } from '../mcp/session/session.ts';

/**
 * The one door through which servers reach the host: limit → policy → audit → the host's callback. Sampling,
 * elicitation and roots are requests, log messages are told; each comes with the server's name.
 */
export interface Inbound {
  /** The door of one connection; `principal`: whose it is. Default: the engine's. */
  door(server: string, connection: string, principal?: Principal): HostDoor;
  /** A log message of a server. */
  logged(server: string, params: Json | undefined, principal?: Principal): void;
  /** Answers a request of a server: pushed by a legacy one, or found in an `input_required` result of a modern one. */
  answer(from: Asker, method: string, params: Json | undefined, signal: AbortSignal): Promise<Json>;
}

export interface Asker {
  readonly server: string;
  readonly connection: string;
  readonly principal: Principal | undefined;
}

export interface InboundOptions {
  readonly host: Host;
  readonly principal: Principal | undefined;
  readonly clock: Clock;
  readonly emit: Emit;
  readonly logger: Logger;
  /** Per server. */
  readonly limits: (server: string) => {
    readonly serverRequestsAtOnce: number;
    readonly serverRequestsPerMinute: number;
  };
  /** How long the host may take over one answer, milliseconds. */
  readonly timeoutMs: number;
  /** Decides whether a server may ask; denies by throwing. */
  readonly permit?:
    | ((from: Asker, method: string, params: Json | undefined) => void | Promise<void>)
    | undefined;
}

const MINUTE_MS = 60_000;

/** Capabilities follow from the callbacks; what the host declares by itself is laid over them. */
function hostCapabilities(host: Host): Json {
  return Object.freeze({
    ...(host.sample === undefined ? {} : { sampling: {} }),
    ...(host.elicit === undefined ? {} : { elicitation: { form: {}, url: {} } }),
    ...(host.roots === undefined ? {} : { roots: {} }),
    ...host.capabilities,
  });
}

export function createInboundDoor(options: InboundOptions): Inbound {
  const { host, clock, emit, logger } = options;
  const capabilities = hostCapabilities(host);
  const usage = new Map<string, Usage>();

  const usageOf = (server: string): Usage => {
    let known = usage.get(server);
    if (known === undefined) {
      known = new Usage();
      usage.set(server, known);
    }
    return known;
  };

  const answer: Inbound['answer'] = async (from, method, params, signal) => {
    let failed: TroupeError | undefined;
    const used = usageOf(from.server);
    let entered = false;
    try {
      used.enter(options.limits(from.server), clock.now(), from.server, method);
      entered = true;
      return await callHost(options, from, method, params ?? {}, signal);
    } catch (error) {
      failed = isTroupeError(error)
        ? error
        : new TroupeError('internal', `the host's answer to ${method} failed: ${errorText(error)}`, {
            server: from.server,
            cause: error,
          });
      // Servers are not trusted: what went wrong inside of the host is nothing to them.
      throw failed.code === 'internal'
        ? new TroupeError('internal', `the host could not answer ${method}`, { server: from.server })
        : failed;
    } finally {
      if (entered) used.leave();
      emit({
        type: 'server.asked',
        at: clock.wallTime(),
        server: from.server,
        connection: from.connection,
        method,
        ok: failed === undefined,
        error: failed,
      });
    }
  };

  return {
    answer,
    door: (server, connection, principal = options.principal) => ({
      capabilities,
      ask: (method, params, signal) => answer({ server, connection, principal }, method, params, signal),
    }),
    logged(server, params, principal = options.principal) {
      if (host.log === undefined) return;
      try {
        const done = host.log(params ?? {}, { server, principal, signal: NEVER });
        if (done instanceof Promise)
          done.catch((error: unknown) =>
            logger.warn('host.log rejected', { server, error: errorText(error) }),
          );
      } catch (error) {
        logger.warn('host.log threw', { server, error: errorText(error) });
      }
    },
  };
}

const NEVER = new AbortController().signal;

/** What one server has asked of late. */
class Usage {
  #atOnce = 0;
  #recent: number[] = [];

  enter(
    limits: { readonly serverRequestsAtOnce: number; readonly serverRequestsPerMinute: number },
    now: number,
    server: string,
    method: string,
  ): void {
    this.#recent = this.#recent.filter((at) => now - at < MINUTE_MS);
    if (this.#atOnce >= limits.serverRequestsAtOnce) {
      throw new TroupeError(
        'rate_limited',
        `${method}: more than ${limits.serverRequestsAtOnce} requests to the host at once`,
        { server },
      );
    }
    if (this.#recent.length >= limits.serverRequestsPerMinute) {
      const oldest = this.#recent[0] ?? now;
      throw new TroupeError(
        'rate_limited',
        `${method}: more than ${limits.serverRequestsPerMinute} requests to the host in a minute`,
        {
          server,
          retryAfterMs: Math.ceil(oldest + MINUTE_MS - now),
        },
      );
    }
    this.#atOnce += 1;
    this.#recent.push(now);
  }

  leave(): void {
    this.#atOnce -= 1;
  }
}

async function callHost(
  options: InboundOptions,
  from: Asker,
  method: string,
  params: Json,
  signal: AbortSignal,
): Promise<Json> {
  const { host, clock, timeoutMs } = options;
  const { server, principal } = from;
  const work = hostCall(host, from, method, params);
  const permitted = options.permit?.(from, method, params);
  const controller = new AbortController();
  return new Promise<Json>((resolve, reject) => {
    const end = (error: TroupeError): void => {
      settle();
      controller.abort(error);
      reject(error);
    };
    const onAbort = (): void =>
      end(new TroupeError('cancelled', `${method}: the server withdrew its request`, { server }));
    const disarm = clock.after(timeoutMs, () =>
      end(
        new TroupeError('deadline_exceeded', `${method}: the host did not answer within ${timeoutMs} ms`, {
          server,
        }),
      ),
    );
    const settle = (): void => {
      disarm();
      signal.removeEventListener('abort', onAbort);
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    // A policy that takes its time takes it from the host's; one that never answers keeps nobody waiting.
    Promise.resolve(permitted)
      .then(() => controller.signal.throwIfAborted())
      .then(() => work({ server, principal, signal: controller.signal }))
      .then(
        (result) => {
          settle();
          if (isJson(result)) resolve(result);
          else
            reject(
              new TroupeError(
                'invalid_request',
                `${method}: the host answered with ${typeof result}, not an object`,
                { server },
              ),
            );
        },
        (error: unknown) => {
          settle();
          reject(TroupeError.from(error, { server }));
        },
      );
  });
}

type HostContext = {
  readonly server: string;
  readonly principal: Principal | undefined;
  readonly signal: AbortSignal;
};

function hostCall(host: Host, from: Asker, method: string, params: Json): (context: HostContext) => unknown {
  switch (method) {
    case 'sampling/createMessage': {
      const { sample } = host;
      if (sample !== undefined) return (context) => sample(params, context);
      break;
    }
    case 'elicitation/create': {
      const { elicit } = host;
      if (elicit === undefined) break;
      refuseUnsafeUrl(params, from.server);
      return (context) => elicit(params, context);
    }
    case 'roots/list': {
      const { roots } = host;
      if (roots === undefined) break;
      return async (context) => ({ roots: typeof roots === 'function' ? await roots(context) : roots });
    }
    default:
  }
  throw new TroupeError('unsupported', `the host does not answer ${method}`, { server: from.server });
}

/** A server may send people to https pages only (reliability §3 row 40); loopback is for development. */
function refuseUnsafeUrl(params: Json, server: string): void {
  if (params['mode'] !== 'url') return;
  let url: URL | undefined;
  try {
    url = new URL(String(params['url']));
  } catch {
    // Said below.
  }
  const loopback =
    url !== undefined &&
    url.protocol === 'http:' &&
    /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname);
  if (url === undefined || (url.protocol !== 'https:' && !loopback)) {
    throw new TroupeError('denied', 'elicitation by URL is for https addresses only', { server });
  }
}

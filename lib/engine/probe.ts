import { Cancellation } from '../core/cancellation.ts';
import type { Clock, Disarm } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';
import type { Json } from '../core/json-rpc.ts';
import type { Session } from '../mcp/session/session.ts';

/** How the last look at a connection went. */
export interface ProbeResult {
  /** Wall time, milliseconds. */
  readonly at: number;
  readonly ok: boolean;
  readonly elapsedMs: number;
}

/** One cheap read that shows whether a session serves: `ping` does not exist in the modern era. */
export function probeSession(session: Session, cancellation: Cancellation): Promise<Json> {
  return session.request({
    method: session.era === 'modern' ? 'server/discover' : 'ping',
    params: undefined,
    cancellation,
  });
}

export interface ProberOptions {
  readonly clock: Clock;
  readonly server: string;
  readonly connection: string;
  readonly session: Session;
  /** Silence after which it is asked, time for the answer, and failures in a row that end the session. */
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly failures: number;
  readonly onResult: (result: ProbeResult, error: TroupeError | undefined) => void;
  /** It has failed too often: it is lost. */
  readonly onDead: (error: TroupeError) => void;
}

/**
 * Watches one session: a connection that has been silent is asked whether it lives. A process that hangs, a half-open
 * socket and a server behind a dead proxy all look alike, and only asking tells. Returns the end of the watch.
 */
export function watchHealth(options: ProberOptions): () => void {
  const { clock, intervalMs, timeoutMs, server, connection } = options;
  let disarm: Disarm = () => {};
  let current: Cancellation | undefined;
  let failed = 0;
  let over = false;
  let heard = options.session.heard;

  const arm = (ms: number): void => {
    if (!over) disarm = clock.after(ms, look, { unref: true });
  };

  const look = (): void => {
    const silent = options.session.heard === heard;
    heard = options.session.heard;
    if (silent) void probe();
    else arm(intervalMs);
  };

  const probe = async (): Promise<void> => {
    const cancellation = new Cancellation();
    current = cancellation;
    const started = clock.now();
    const stop = clock.after(timeoutMs, () =>
      cancellation.cancel(
        new TroupeError('deadline_exceeded', `no answer to a health probe within ${timeoutMs} ms`, {
          server,
          connection,
        }),
      ),
    );
    let error: TroupeError | undefined;
    try {
      await probeSession(options.session, cancellation);
    } catch (cause) {
      error = TroupeError.from(cause, { server, connection });
    }
    stop();
    if (over) return;
    // An error that the server itself sent is a sign of life.
    const alive = error === undefined || error.delivery === 'answered';
    failed = alive ? 0 : failed + 1;
    options.onResult({ at: clock.wallTime(), ok: alive, elapsedMs: clock.now() - started }, error);
    if (failed >= options.failures) {
      over = true;
      options.onDead(
        new TroupeError('connection_lost', `${failed} health probes in a row had no answer`, {
          server,
          connection,
          delivery: 'sent',
          cause: error,
        }),
      );
    } else arm(failed === 0 ? intervalMs : Math.min(intervalMs, timeoutMs));
  };

  arm(intervalMs);
  return () => {
    over = true;
    disarm();
    current?.cancel(new TroupeError('stopped', 'the session ended', { server, connection }));
  };
}

import { EventEmitter } from 'eventemitter3';
import { TroupeError } from '../core/errors.ts';
import type { Emit, EngineEvent, EngineEventType, EventOf } from '../core/events.ts';
import type { Logger } from '../core/ports.ts';

/** What is heard under a name; `*` hears everything. */
export type Heard<T extends EngineEventType | '*'> = T extends EngineEventType ? EventOf<T> : EngineEvent;

export interface EventBus {
  /** Tells everybody, in the order they came: first who listens to this type, then who listens to `*`. Never throws. */
  readonly emit: Emit;
  /**
   * Returns the end of it, which may be called at any time, within a call of the listener too, and more than once. A
   * listener that throws or rejects harms nobody and is logged once.
   */
  on<T extends EngineEventType | '*'>(type: T, listener: (event: Heard<T>) => unknown): () => void;
  /** Whether an event of this type would be heard: ask before building one that is not free. */
  hasListeners(type: EngineEventType): boolean;
  /** How many listen, how often a listener failed, and when last (milliseconds since the epoch). */
  stats(): {
    readonly listeners: number;
    readonly failures: number;
    readonly lastFailureAt: number | undefined;
  };
  /** Ends every listener. */
  clear(): void;
}

export interface EventBusInit {
  readonly logger: Logger;
  /** Wall time, milliseconds since the epoch. */
  readonly now: () => number;
}

export function createEventBus({ logger, now }: EventBusInit): EventBus {
  const emitter = new EventEmitter<string>();
  const ends = new Set<() => void>();
  let failures = 0;
  let lastFailureAt: number | undefined;

  return {
    emit(event) {
      emitter.emit(event.type, event);
      emitter.emit('*', event);
    },
    on(type, listener) {
      if (typeof listener !== 'function') {
        throw new TroupeError(
          'invalid_request',
          `the listener of "${type}" is no function; give (event) => …`,
        );
      }
      let live = true;
      let logged = false;
      const failed = (error: unknown): void => {
        failures++;
        lastFailureAt = now();
        if (logged) return;
        logged = true;
        report(logger, type, error);
      };
      const tell = (event: EngineEvent): void => {
        // The emitter goes on with the list it started with; who left in the meantime must not hear it.
        if (!live) return;
        try {
          const result = listener(event as Heard<typeof type>);
          if (isThenable(result)) result.then(undefined, failed);
        } catch (error) {
          failed(error);
        }
      };
      const end = (): void => {
        if (!live) return;
        live = false;
        ends.delete(end);
        emitter.removeListener(type, tell);
      };
      ends.add(end);
      emitter.on(type, tell);
      return end;
    },
    hasListeners: (type) => emitter.listenerCount(type) > 0 || emitter.listenerCount('*') > 0,
    stats: () => ({ listeners: ends.size, failures, lastFailureAt }),
    clear() {
      for (const end of ends) end();
    },
  };
}

function report(logger: Logger, type: string, error: unknown): void {
  try {
    logger.error(`a listener of "${type}" failed; further failures of it are only counted`, {
      error: TroupeError.from(error).detail,
    });
  } catch {
    // A logger that throws must not take the place of the listener that threw.
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' && value !== null && typeof (value as PromiseLike<unknown>).then === 'function'
  );
}

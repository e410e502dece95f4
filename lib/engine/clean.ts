import { inspect } from 'node:util';
import { TroupeError, isError, isTroupeError } from '../core/errors.ts';
import type { EngineEvent } from '../core/events.ts';
import type { Json } from '../core/json-rpc.ts';
import type { Logger } from '../core/ports.ts';
import type { Redactor } from '../security/redaction.ts';
import type { EventBus } from '../telemetry/event-bus.ts';

const MAX_CAUSES = 8;

/** The same error where it says nothing secret; else one that says the same without. Causes and stacks included. */
export function cleanError(error: TroupeError, redactor: Redactor, depth = 0): TroupeError {
  // A stack is written when it is first read: that is most of what an error costs.
  if (redactor.empty) return error;
  const cause = cleanCause(error.cause, redactor, depth);
  const detail = redactor.text(error.detail);
  const data =
    textOf(error.data) === redactor.text(textOf(error.data)) ? error.data : redactor.value(error.data);
  const stack = redactor.text(error.stack ?? '');
  if (
    cause === error.cause &&
    detail === error.detail &&
    data === error.data &&
    stack === (error.stack ?? '')
  )
    return error;
  const { server, connection, attempt, delivery, retryAfterMs } = error;
  const clean = new TroupeError(error.code, detail, {
    server,
    connection,
    attempt,
    delivery,
    retryAfterMs,
    data,
    cause,
  });
  clean.stack = stack;
  return clean;
}

/** A foreign cause that holds a secret anywhere is replaced whole: what else it carries nobody knows. */
function cleanCause(cause: unknown, redactor: Redactor, depth: number): unknown {
  if (cause === undefined) return undefined;
  if (depth >= MAX_CAUSES) return undefined;
  if (isTroupeError(cause)) return cleanError(cause, redactor, depth + 1);
  const shown = textOf(cause);
  const clean = redactor.text(shown);
  if (clean === shown) return cause;
  if (!isError(cause)) return clean;
  const copy = new Error(redactor.text(cause.message));
  copy.name = cause.name;
  copy.stack = redactor.text(cause.stack ?? '');
  return copy;
}

/** What a server says of itself: as it is, unless it repeats a secret of ours. Looked at once for each object. */
export function createInfoCleaner(redactor: Redactor): (info: Json) => Json {
  const known = new WeakMap<Json, Json>();
  return (info) => {
    const before = known.get(info);
    if (before !== undefined) return before;
    const text = JSON.stringify(info);
    const clean = redactor.text(text) === text ? info : (redactor.value(info) as Json);
    known.set(info, clean);
    return clean;
  };
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  return value === undefined
    ? ''
    : inspect(value, { depth: 8, breakLength: Infinity, maxStringLength: null, showHidden: true });
}

export function cleanLogger(logger: Logger, redactor: Redactor): Logger {
  const write =
    (level: keyof Logger): Logger['info'] =>
    (message, fields) => {
      try {
        if (fields === undefined) logger[level](redactor.text(message));
        else
          logger[level](redactor.text(message), redactor.value(fields) as Readonly<Record<string, unknown>>);
      } catch {
        // The host's logger is foreign code: what it throws must not take the place of what was to be told.
      }
    };
  return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
}

/** Everybody who listens hears of errors and of what servers tell without our secrets in it. */
export function cleanBus(bus: EventBus, redactor: Redactor): EventBus {
  return { ...bus, emit: (event) => bus.emit(cleanEvent(event, redactor)) };
}

function cleanEvent(event: EngineEvent, redactor: Redactor): EngineEvent {
  switch (event.type) {
    case 'server.notified':
      return {
        ...event,
        method: redactor.text(event.method),
        ...(event.params === undefined ? {} : { params: redactor.value(event.params) as Json }),
      };
    case 'catalog.name_clashed':
      return { ...event, name: redactor.text(event.name), reason: redactor.text(event.reason) };
    case 'catalog.name_resembled':
      return {
        ...event,
        ...(event.name === undefined ? {} : { name: redactor.text(event.name) }),
        reason: redactor.text(event.reason),
      };
    case 'catalog.item_skipped':
      return { ...event, item: redactor.text(event.item), reason: redactor.text(event.reason) };
    case 'catalog.item_flagged':
      return {
        ...event,
        item: redactor.text(event.item),
        flags: redactor.value(event.flags) as typeof event.flags,
      };
    case 'tool.quarantined':
      return {
        ...event,
        tool: redactor.text(event.tool),
        ...(event.diff === undefined ? {} : { diff: redactor.text(event.diff) }),
      };
    case 'subscription.ended':
      return { ...event, uri: redactor.text(event.uri) };
    case 'auth.required':
      return {
        ...event,
        error: cleanError(event.error, redactor),
        ...(event.challenge === undefined ? {} : { challenge: redactor.value(event.challenge) as Json }),
      };
    case 'request.settled': {
      const { target, error } = event;
      const plain = target === undefined || redactor.text(target) === target;
      if (plain && error === undefined) return event;
      return {
        ...event,
        ...(target === undefined ? {} : { target: redactor.text(target) }),
        ...(error === undefined ? {} : { error: cleanError(error, redactor) }),
      };
    }
    case 'connection.changed':
    case 'connection.oddity':
    case 'server.asked':
      return event.error === undefined ? event : { ...event, error: cleanError(event.error, redactor) };
    default:
      return event;
  }
}

import { errorText, isError } from '../core/errors.ts';
import { createMultiPattern } from './multi-pattern.ts';
import type { MultiPattern } from './multi-pattern.ts';
import { MIN_SECRET_LENGTH, formsOf } from './secret-forms.ts';
import { isSecretName } from './secret-names.ts';

/** What stands in place of a secret. */
export const REDACTED = '[redacted]';
/** Levels of a value that are kept. */
const MAX_DEPTH = 64;
const TOO_DEEP = '[too deep]';
const CIRCULAR = '[circular]';

/**
 * Takes secrets out of what leaves the engine (logs, events, audit, `inspect()`), by value and not by place: a secret
 * that a server echoes in an error is found wherever it stands.
 */
export interface Redactor {
  /** Nothing is looked for: every text stays as it is. */
  readonly empty: boolean;
  /**
   * Looks for this secret from now on, in all its usual encodings. One of less than 8 characters, or one that looks like
   * the mark itself, is not looked for: `false`. Counted: as often as it was added it must be removed.
   */
  add(secret: string): boolean;
  remove(secret: string): void;
  /** Linear in the text. A second pass changes nothing. */
  text(text: string): string;
  /** A copy in plain data, at most 64 levels, safe with cycles; also masks what stands under names like `authorization`. */
  value(value: unknown): unknown;
}

export function createRedactor(secrets: Iterable<string> = []): Redactor {
  const counts = new Map<string, number>();
  let patterns: MultiPattern | undefined;

  const text = (given: string): string => {
    if (counts.size === 0 || given.length < MIN_SECRET_LENGTH) return given;
    patterns ??= createMultiPattern(new Set([...counts.keys()].flatMap((secret) => [...formsOf(secret)])));
    return redacted(given, patterns);
  };

  const redactor: Redactor = {
    get empty() {
      return counts.size === 0;
    },
    add(secret) {
      if (secret.length < MIN_SECRET_LENGTH || REDACTED.includes(secret) || secret.includes(REDACTED))
        return false;
      const count = counts.get(secret) ?? 0;
      counts.set(secret, count + 1);
      if (count === 0) patterns = undefined;
      return true;
    },
    remove(secret) {
      const count = counts.get(secret) ?? 0;
      if (count > 1) counts.set(secret, count - 1);
      else if (counts.delete(secret)) patterns = undefined;
    },
    text,
    value: (value) => copyOf(value, text, 0, new Map()),
  };
  for (const secret of secrets) redactor.add(secret);
  return redactor;
}

/** Marks that stand in the text already are left alone: what is searched is what stands between them. */
function redacted(given: string, patterns: MultiPattern): string {
  if (!given.includes(REDACTED)) return cut(given, patterns);
  return given
    .split(REDACTED)
    .map((part) => cut(part, patterns))
    .join(REDACTED);
}

function cut(part: string, patterns: MultiPattern): string {
  const spans = patterns.spans(part);
  if (spans.length === 0) return part;
  let kept = '';
  let from = 0;
  for (let i = 0; i < spans.length; i += 2) {
    kept += part.slice(from, spans[i]) + REDACTED;
    from = spans[i + 1]!;
  }
  return kept + part.slice(from);
}

/** `seen` also makes shared parts be copied once: a lattice of references must not become a tree. */
function copyOf(
  value: unknown,
  text: (given: string) => string,
  depth: number,
  seen: Map<object, unknown>,
): unknown {
  if (typeof value === 'string') return text(value);
  if (typeof value === 'bigint') return text(value.toString());
  if (typeof value === 'function') return '[function]';
  if (typeof value === 'symbol') return text(value.toString());
  if (typeof value !== 'object' || value === null) return value;
  if (depth === MAX_DEPTH) return TOO_DEEP;
  const before = seen.get(value);
  if (before !== undefined) return before;
  seen.set(value, CIRCULAR);
  const copy = copyObject(value, text, depth, seen);
  seen.set(value, copy);
  return copy;
}

function copyObject(
  value: object,
  text: (given: string) => string,
  depth: number,
  seen: Map<object, unknown>,
): unknown {
  const inner = (item: unknown): unknown => copyOf(item, text, depth + 1, seen);
  if (Array.isArray(value)) return (value as unknown[]).map(inner);
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `[${value.byteLength} bytes]`;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (value instanceof URL || value instanceof RegExp) return text(value.toString());
  if (value instanceof Set) return [...(value as Set<unknown>)].map(inner);
  const entries = value instanceof Map ? mapEntries(value as Map<unknown, unknown>) : entriesOf(value);
  return Object.fromEntries(
    entries.map(([name, item]) => [
      text(name),
      isSecretName(name) && item !== null && item !== undefined && typeof item !== 'boolean'
        ? REDACTED
        : inner(item),
    ]),
  );
}

function mapEntries(map: Map<unknown, unknown>): Array<readonly [string, unknown]> {
  return [...map].map(([key, item]) => [typeof key === 'string' ? key : errorText(key), item]);
}

/** Own data of an object; what an error hides (message, stack, cause) included. A getter that throws tells so. */
function entriesOf(value: object): Array<readonly [string, unknown]> {
  const names = new Set(
    isError(value) ? ['name', 'message', 'stack', 'cause', ...Object.keys(value)] : Object.keys(value),
  );
  const entries: Array<readonly [string, unknown]> = [];
  for (const name of names) {
    let item: unknown;
    try {
      item = (value as Record<string, unknown>)[name];
    } catch (error) {
      item = `[threw: ${errorText(error)}]`;
    }
    if (item !== undefined) entries.push([name, item]);
  }
  return entries;
}

import { TroupeError } from '../core/errors.ts';
import type { Json } from '../core/json-rpc.ts';
import type { NumberOption } from './defaults.ts';

export type Path = readonly (string | number)[];

/** Where an input came from, for error messages. */
export interface Origin {
  /** File name as the caller gave it. `undefined`: an object. */
  readonly file: string | undefined;
  /** Line of the value at a path of the document, counted from 1; of the nearest parent where the value is missing. */
  lineOf(path: Path): number | undefined;
}

export const OBJECT_ORIGIN: Origin = { file: undefined, lineOf: () => undefined };

/** The place of one value: which server, which field of it, where in the document. */
export interface At {
  readonly origin: Origin;
  readonly server: string | undefined;
  /** Document path of the server (or of the root). */
  readonly base: Path;
  /** Path below `base`: what the message calls the field. */
  readonly path: Path;
}

export function below(at: At, ...keys: Path): At {
  return { ...at, path: [...at.path, ...keys] };
}

export function fieldName(path: Path): string {
  let name = '';
  for (const key of path) name += typeof key === 'number' ? `[${key}]` : name === '' ? key : `.${key}`;
  return name;
}

/** `[config_invalid] github: timeoutMs is -1; give 1 to 2147483647 ms (mcp.json, line 12)`. */
export function invalid(at: At, problem: string, remedy: string, cause?: unknown): TroupeError {
  const { origin } = at;
  const field = fieldName(at.path);
  const line = origin.lineOf([...at.base, ...at.path]);
  const where =
    origin.file === undefined ? '' : ` (${origin.file}${line === undefined ? '' : `, line ${line}`})`;
  return new TroupeError(
    'config_invalid',
    `${field === '' ? '' : `${field} `}${problem}; ${remedy}${where}`,
    {
      server: at.server,
      data: {
        field,
        ...(origin.file === undefined ? {} : { file: origin.file }),
        ...(line === undefined ? {} : { line }),
      },
      cause,
    },
  );
}

/** What a value is, without showing what may be a secret. */
export function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (value === '') return 'empty';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

export type Unknowns = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is Unknowns {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof URL) &&
    !(value instanceof Map)
  );
}

/** Own properties only: a key such as `constructor` must never find what the prototype has. */
export function own(object: Unknowns, key: string): unknown {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

/** Reads one object of the input field by field and remembers which keys were asked for. `null` counts as absent. */
export class Fields {
  readonly at: At;
  readonly #value: Unknowns;
  readonly #read = new Set<string>();

  constructor(value: unknown, at: At, remedy = 'give an object') {
    if (!isObject(value)) throw invalid(at, `is ${kindOf(value)}`, remedy);
    this.#value = value;
    this.at = at;
  }

  place(key: string): At {
    return below(this.at, key);
  }

  /** As written, `null` kept. */
  raw(key: string): unknown {
    this.#read.add(key);
    return own(this.#value, key);
  }

  get(key: string): unknown {
    return this.raw(key) ?? undefined;
  }

  /** Written down, if only as `undefined`. */
  mentions(key: string): boolean {
    return Object.hasOwn(this.#value, key);
  }

  boolean(key: string): boolean | undefined {
    const value = this.get(key);
    if (value === undefined || typeof value === 'boolean') return value;
    throw invalid(this.place(key), `is ${kindOf(value)}`, 'give true or false');
  }

  text(key: string): string | undefined {
    const value = this.get(key);
    if (value === undefined) return undefined;
    if (typeof value !== 'string' || value === '')
      throw invalid(this.place(key), `is ${kindOf(value)}`, 'give a text');
    if (value.includes('\0')) throw invalid(this.place(key), 'contains a NUL character', 'remove it');
    return value;
  }

  number(key: string, option: NumberOption): number | undefined {
    const value = this.get(key);
    return value === undefined ? undefined : checkedNumber(value, option, this.place(key));
  }

  oneOf<T extends string>(key: string, choices: readonly T[]): T | undefined {
    const value = this.get(key);
    if (value === undefined) return undefined;
    const found = choices.find((choice) => choice === value);
    if (found !== undefined) return found;
    throw invalid(this.place(key), `is ${shownChoice(value)}`, `choose one of ${choices.join(', ')}`);
  }

  texts(key: string): readonly string[] | undefined {
    const value = this.get(key);
    if (value === undefined) return undefined;
    if (!Array.isArray(value)) throw invalid(this.place(key), `is ${kindOf(value)}`, 'give a list of texts');
    return Object.freeze(
      value.map((item: unknown, i) => {
        if (typeof item === 'string') return item;
        throw invalid(below(this.place(key), i), `is ${kindOf(item)}`, 'give a text');
      }),
    );
  }

  callable(key: string): ((...args: never[]) => unknown) | undefined {
    const value = this.get(key);
    if (value === undefined || typeof value === 'function') return value as (() => unknown) | undefined;
    throw invalid(this.place(key), `is ${kindOf(value)}`, 'give a function');
  }

  object(key: string): Unknowns | undefined {
    const value = this.get(key);
    if (value === undefined) return undefined;
    if (!isObject(value)) throw invalid(this.place(key), `is ${kindOf(value)}`, 'give an object');
    return value;
  }

  fields(key: string): Fields | undefined {
    const value = this.get(key);
    return value === undefined ? undefined : new Fields(value, this.place(key));
  }

  /** What nobody asked for. */
  rest(): Json {
    // No prototype: a key `__proto__` is a key like any other.
    const rest = Object.create(null) as Record<string, unknown>;
    for (const key of Object.keys(this.#value)) if (!this.#read.has(key)) rest[key] = this.#value[key];
    return Object.freeze(rest);
  }

  /** In groups that are ours alone an unknown key is a typing error. */
  nothingElse(): void {
    const [key] = Object.keys(this.rest());
    if (key === undefined) return;
    const guess = nearest(key, this.#read);
    const known = [...this.#read].join(', ');
    throw invalid(
      this.place(key),
      'is not an option',
      guess === undefined ? `known here: ${known}` : `did you mean ${guess}?`,
    );
  }
}

export function checkedNumber(value: unknown, option: NumberOption, at: At): number {
  const { min, max, whole, unit } = option;
  const fits =
    typeof value === 'number' &&
    value >= min &&
    value <= max &&
    (!whole || Number.isInteger(value) || value === Infinity);
  if (fits) return value;
  const range = max === Infinity || max === Number.MAX_SAFE_INTEGER ? `${min} or more` : `${min} to ${max}`;
  throw invalid(at, `is ${kindOf(value)}`, `give a${whole ? ' whole' : ''} number (${unit}), ${range}`);
}

/** YAML and JSON writers leave numbers and booleans unquoted. */
export function scalarText(value: unknown, at: At): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value)))
    return String(value);
  throw invalid(at, `is ${kindOf(value)}`, 'give a text');
}

export function withoutNul(text: string, at: At): string {
  if (text.includes('\0')) throw invalid(at, 'contains a NUL character', 'remove it');
  return text;
}

function shownChoice(value: unknown): string {
  return typeof value === 'string' && value.length <= 40 ? JSON.stringify(value) : kindOf(value);
}

/** The known key that was probably meant: at most two edits away, and never for short words. */
export function nearest(key: string, known: Iterable<string>): string | undefined {
  if (key.length < 4 || key.length > 40) return undefined;
  let best: string | undefined;
  let least = key.length < 6 ? 2 : 3;
  for (const candidate of known) {
    const distance = edits(key.toLowerCase(), candidate.toLowerCase(), least);
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

/** Insertions, deletions, substitutions and swaps of neighbours between them, or `bound` when they are not fewer. */
function edits(a: string, b: string, bound: number): number {
  if (Math.abs(a.length - b.length) >= bound) return bound;
  let before: readonly number[] = [];
  let row: readonly number[] = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitute = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swap = swapped ? (before[j - 2] ?? 0) + 1 : bound;
      next.push(Math.min(substitute, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, swap));
    }
    before = row;
    row = next;
  }
  return Math.min(row[b.length] ?? bound, bound);
}

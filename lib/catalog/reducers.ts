import { errorText, TroupeError } from '../core/errors.ts';
import { isJson, type Json } from '../core/json-rpc.ts';
import { quoted } from './name-text.ts';

/** The answer of one server to a question that all were asked. */
export type AnswerRow =
  | { readonly server: string; readonly ok: true; readonly result: Json; readonly elapsedMs?: number }
  | { readonly server: string; readonly ok: false; readonly error: TroupeError; readonly elapsedMs?: number };

/** Makes one answer of many. Rows come in order of declaration; failed ones are among them. Pure. */
export type Reducer = (rows: readonly AnswerRow[]) => unknown;

const REDUCER_NAMES = ['lists', 'contents', 'texts', 'first'] as const;
export type ReducerName = (typeof REDUCER_NAMES)[number];

/**
 * `lists`: the arrays of all results under their key, one behind the other. `contents`: one tool result with the
 * content of all. `texts`: their texts as one string. `first`: the result of the first that succeeded.
 */
const REDUCERS: ReadonlyMap<string, Reducer> = new Map<ReducerName, Reducer>([
  ['lists', concatLists()],
  ['contents', joinContents],
  ['texts', joinTexts()],
  ['first', firstSuccess],
]);

/**
 * Runs a reducer of the host's or one of ours by name. Throws `invalid_request` for an unknown name and `internal`
 * naming the reducer where it throws; a promise that it returns rejects in the same way.
 */
export function reduceAnswers(reduce: Reducer | ReducerName, rows: readonly AnswerRow[]): unknown {
  const reducer = typeof reduce === 'function' ? reduce : REDUCERS.get(reduce);
  if (reducer === undefined) {
    throw new TroupeError(
      'invalid_request',
      `there is no reducer ${quoted(String(reduce))}; use a function or one of ${REDUCER_NAMES.join(', ')}`,
    );
  }
  const name = typeof reduce === 'string' ? reduce : reduce.name === '' ? 'anonymous' : reduce.name;
  const broken = (error: unknown): TroupeError =>
    new TroupeError('internal', `the reducer ${quoted(name)} threw: ${errorText(error)}`, {
      delivery: 'answered',
      cause: error,
    });
  let reduced: unknown;
  try {
    reduced = reducer(rows);
  } catch (error) {
    throw broken(error);
  }
  if (!(reduced instanceof Promise)) return reduced;
  return reduced.catch((error: unknown) => {
    throw broken(error);
  });
}

const LIST_KEYS = [
  'tools',
  'resources',
  'resourceTemplates',
  'prompts',
  'roots',
  'contents',
  'items',
] as const;

/**
 * `{ [key]: [...] }` of all results that have an array there. Without `key`: the first usual key that a result has.
 * `dedupe` says what is the same: of two items with the same answer the first one stays; `undefined` is never the same.
 */
export function concatLists(
  options: { readonly key?: string; readonly dedupe?: (item: unknown) => string | undefined } = {},
): Reducer {
  return function lists(rows) {
    const results = rows.flatMap((row) => (row.ok ? [row.result] : []));
    const usual = LIST_KEYS.find((key) => results.some((result) => Array.isArray(result[key])));
    const key = options.key ?? usual ?? 'items';
    const seen = new Set<string>();
    const all: unknown[] = [];
    for (const result of results) {
      const items = Object.hasOwn(result, key) ? result[key] : undefined;
      if (!Array.isArray(items)) continue;
      for (const item of items as readonly unknown[]) {
        const same = options.dedupe?.(item);
        if (same !== undefined) {
          if (seen.has(same)) continue;
          seen.add(same);
        }
        all.push(item);
      }
    }
    return Object.fromEntries([[key, all]]);
  };
}

/** One tool result: the content of all that answered, in order; an error only where every answer is one. */
function joinContents(rows: readonly AnswerRow[]): Json {
  const content: unknown[] = [];
  let answers = 0;
  let errors = 0;
  for (const row of rows) {
    if (!row.ok) continue;
    answers += 1;
    if (row.result['isError'] === true) errors += 1;
    for (const part of contentOf(row.result)) content.push(part);
  }
  return answers > 0 && errors === answers ? { content, isError: true } : { content };
}

/** All texts as one string; `label` writes what stands before the first text of each server. */
export function joinTexts(
  options: { readonly separator?: string; readonly label?: (server: string) => string } = {},
): Reducer {
  return function texts(rows) {
    const parts: string[] = [];
    for (const row of rows) {
      if (!row.ok) continue;
      const text = contentOf(row.result)
        .flatMap((part) => (isJson(part) && typeof part['text'] === 'string' ? [part['text']] : []))
        .join('\n');
      if (text !== '') parts.push((options.label?.(row.server) ?? '') + text);
    }
    return parts.join(options.separator ?? '\n');
  };
}

/** The first result that is no error, else the first answer at all, else nothing. */
function firstSuccess(rows: readonly AnswerRow[]): Json | undefined {
  let answer: Json | undefined;
  for (const row of rows) {
    if (!row.ok) continue;
    if (row.result['isError'] !== true) return row.result;
    answer ??= row.result;
  }
  return answer;
}

function contentOf(result: Json): readonly unknown[] {
  const { content, contents } = result;
  if (Array.isArray(content)) return content as readonly unknown[];
  return Array.isArray(contents) ? (contents as readonly unknown[]) : [];
}

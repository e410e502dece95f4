import type { Catalog } from './catalog.ts';
import type { ListedOf } from './list-section.ts';
import { canonicalJson } from './canonical-json.ts';

export interface SearchHit {
  readonly tool: ListedOf<'tools'>;
  /** Only good for comparing hits of one search. */
  readonly score: number;
}

/** BM25 as Robertson and Zaragoza give it (2009): saturation of repeated terms, and how much length counts. */
const K1 = 1.2;
const B = 0.75;
/** A term in the name says more than one in the description. */
const NAME_WEIGHT = 3;
const TITLE_WEIGHT = 2;
/** Characters of a description that are indexed. */
const MAX_DESCRIPTION = 4096;
const MAX_QUERY_TERMS = 32;
/** A query word that nobody uses stands for the words that begin with it: `repo` finds `repository`. */
const MIN_PREFIX = 3;
const DEFAULT_LIMIT = 10;

/**
 * The tools that fit a few words best, best first: token match on name, title and description. The index of a server
 * is built at the first search and kept while its list is the same.
 */
export function searchTools(
  catalog: Catalog,
  query: string,
  options: {
    /** Default 10. */
    readonly limit?: number | undefined;
    readonly server?: string | undefined;
    readonly visible?: ((server: string, originalName: string) => boolean) | undefined;
  } = {},
): readonly SearchHit[] {
  const { limit = DEFAULT_LIMIT, server, visible } = options;
  const indexes = (server === undefined ? catalog.order : [server]).map((name) =>
    indexOf(catalog.listOf(name, 'tools')),
  );
  let documents = 0;
  let length = 0;
  for (const index of indexes) {
    documents += index.tools.length;
    length += index.totalLength;
  }
  if (documents === 0 || limit <= 0) return [];
  const average = length / documents || 1;

  const terms = [...new Set(termsOf(query.slice(0, MAX_DESCRIPTION)))].slice(0, MAX_QUERY_TERMS);
  const scores = indexes.map(() => new Map<number, number>());
  for (const term of terms) {
    const postings = postingsOf(indexes, term);
    const frequency = postings.reduce((sum, list) => sum + list.size, 0);
    if (frequency === 0) continue;
    const weight = Math.log(1 + (documents - frequency + 0.5) / (frequency + 0.5));
    for (const [i, list] of postings.entries()) {
      const index = indexes[i] as ToolIndex;
      const score = scores[i] as Map<number, number>;
      for (const [tool, count] of list) {
        const size = index.lengths[tool] ?? average;
        const gain = (weight * count * (K1 + 1)) / (count + K1 * (1 - B + (B * size) / average));
        score.set(tool, (score.get(tool) ?? 0) + gain);
      }
    }
  }

  const hits: SearchHit[] = [];
  for (const [i, index] of indexes.entries()) {
    for (const [at, score] of scores[i] as Map<number, number>) {
      const tool = index.tools[at] as ListedOf<'tools'>;
      if (visible?.(tool.server, tool.originalName) ?? true) hits.push({ tool, score });
    }
  }
  // Stable: equal scores stay in order of declaration.
  return hits.sort((a, b) => b.score - a.score).slice(0, limit);
}

/** How many tokens a model reads for these items: bytes of their JSON through four, the usual rule of thumb. */
export function estimateTokens(items: readonly unknown[]): number {
  let bytes = 0;
  for (const item of items) bytes += Buffer.byteLength(jsonOf(item)) + 1;
  return Math.ceil(bytes / 4);
}

function jsonOf(item: unknown): string {
  try {
    return JSON.stringify(item) ?? '';
  } catch {
    // An in-process server may list what contains itself.
    return canonicalJson(item);
  }
}

interface ToolIndex {
  readonly tools: readonly ListedOf<'tools'>[];
  /** Per term: number of the tool and weighted count. */
  readonly postings: ReadonlyMap<string, ReadonlyMap<number, number>>;
  readonly lengths: readonly number[];
  readonly totalLength: number;
}

const NOTHING: ReadonlyMap<number, number> = new Map();
const known = new WeakMap<readonly ListedOf<'tools'>[], ToolIndex>();

function indexOf(tools: readonly ListedOf<'tools'>[]): ToolIndex {
  const index = known.get(tools);
  if (index !== undefined) return index;
  const built = buildIndex(tools);
  known.set(tools, built);
  return built;
}

function buildIndex(tools: readonly ListedOf<'tools'>[]): ToolIndex {
  const postings = new Map<string, Map<number, number>>();
  const lengths: number[] = [];
  let totalLength = 0;
  for (const [at, tool] of tools.entries()) {
    let length = 0;
    const add = (text: unknown, weight: number): void => {
      if (typeof text !== 'string') return;
      for (const term of termsOf(text.slice(0, MAX_DESCRIPTION))) {
        const list = postings.get(term) ?? new Map<number, number>();
        if (list.size === 0) postings.set(term, list);
        list.set(at, (list.get(at) ?? 0) + weight);
        length += 1;
      }
    };
    add(tool.originalName, NAME_WEIGHT);
    add(tool.server, 1);
    add(tool.title, TITLE_WEIGHT);
    add(tool.description, 1);
    lengths.push(length);
    totalLength += length;
  }
  return { tools, postings, lengths, totalLength };
}

function postingsOf(indexes: readonly ToolIndex[], term: string): readonly ReadonlyMap<number, number>[] {
  const exact = indexes.map((index) => index.postings.get(term) ?? NOTHING);
  if (term.length < MIN_PREFIX || exact.some((list) => list.size > 0)) return exact;
  return indexes.map((index) => {
    let merged: Map<number, number> | undefined;
    for (const [word, list] of index.postings) {
      if (!word.startsWith(term)) continue;
      merged ??= new Map();
      for (const [tool, count] of list) merged.set(tool, (merged.get(tool) ?? 0) + count);
    }
    return merged ?? NOTHING;
  });
}

/** Words in lower case: `createIssue`, `create_issue` and `Create issues` have the same ones. */
function termsOf(text: string): string[] {
  const terms: string[] = [];
  const expression = PLAIN.test(text) ? PLAIN_WORD : WORD;
  const normal = expression === WORD ? text.normalize('NFKC') : text;
  for (const word of normal.match(expression) ?? []) terms.push(singular(word.toLowerCase()));
  return terms;
}

const PLAIN = /^[\t\n\r\u0020-\u007e]*$/;
/** `HTTP` of `HTTPServer`, `Server`, numbers; with the properties of Unicode it takes ten times as long. */
const PLAIN_WORD = /[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+/g;
/** The same, and letters without case. */
const WORD = /\p{Lu}+(?!\p{Ll})|\p{Lu}?[\p{Ll}\p{Lt}\p{Lm}\p{Lo}\p{M}]+|\p{N}+/gu;

function singular(word: string): string {
  if (word.length <= 3 || !word.endsWith('s') || word.endsWith('ss')) return word;
  return word.endsWith('ies') ? `${word.slice(0, -3)}y` : word.slice(0, -1);
}

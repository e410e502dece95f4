import { isJson, type Json } from '../../core/json-rpc.ts';

/** What negotiation found out about a server, in the form that the SDK takes as `prior`. */
export type Verdict = { readonly kind: 'legacy' } | { readonly kind: 'modern'; readonly discover: Json };

interface DatedVerdict {
  readonly verdict: Verdict;
  /** Wall time, milliseconds. */
  readonly at: number;
}

/** Where verdicts outlive the process; without one they live in memory only. */
export interface VerdictStore {
  read(): string | undefined;
  write(text: string): void;
}

/**
 * A stale modern verdict fails loudly, a stale legacy one succeeds for ever (an upgraded server still answers
 * `initialize`): both are supplied for at most a day.
 */
const VERDICT_TTL_MS = 24 * 60 * 60 * 1000;

export interface Verdicts {
  get(key: string): Verdict | undefined;
  put(key: string, verdict: Verdict): void;
  drop(key: string): void;
}

/**
 * Era verdicts per server and credential, dated. `onStoreFailed` hears of a store that cannot be read or written; the
 * verdicts then live in memory.
 */
export function createVerdicts(options: {
  readonly wallTime: () => number;
  readonly store?: VerdictStore | undefined;
  readonly onStoreFailed?: ((error: unknown) => void) | undefined;
}): Verdicts {
  const { wallTime, store, onStoreFailed } = options;
  const known = new Map<string, DatedVerdict>();
  if (store !== undefined) {
    try {
      const text = store.read();
      if (text !== undefined) for (const [key, dated] of readVerdicts(text)) known.set(key, dated);
    } catch (error) {
      onStoreFailed?.(error);
    }
  }
  const save = (): void => {
    if (store === undefined) return;
    try {
      store.write(JSON.stringify(Object.fromEntries(known)));
    } catch (error) {
      onStoreFailed?.(error);
    }
  };
  return {
    get(key) {
      const dated = known.get(key);
      if (dated === undefined) return undefined;
      const age = wallTime() - dated.at;
      if (age >= 0 && age < VERDICT_TTL_MS) return dated.verdict;
      known.delete(key);
      return undefined;
    },
    put(key, verdict) {
      const before = known.get(key);
      known.set(key, { verdict, at: wallTime() });
      // A verdict that only confirms the one on file keeps its date: otherwise a legacy verdict would never expire.
      if (before !== undefined && JSON.stringify(before.verdict) === JSON.stringify(verdict))
        known.set(key, before);
      else save();
    },
    drop(key) {
      if (known.delete(key)) save();
    },
  };
}

function* readVerdicts(text: string): Generator<[string, DatedVerdict]> {
  const parsed: unknown = JSON.parse(text);
  if (!isJson(parsed)) return;
  for (const [key, dated] of Object.entries(parsed)) {
    if (!isJson(dated) || typeof dated['at'] !== 'number' || !isJson(dated['verdict'])) continue;
    const { kind, discover } = dated['verdict'];
    if (kind === 'legacy') yield [key, { at: dated['at'], verdict: { kind } }];
    else if (kind === 'modern' && isJson(discover))
      yield [key, { at: dated['at'], verdict: { kind, discover } }];
  }
}

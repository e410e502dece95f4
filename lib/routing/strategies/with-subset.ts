import { hash32, score32 } from '../hash.ts';
import type { RoutingStrategy } from '../strategy.ts';
import { invalid, optionsOf, readNumbers } from '../strategy-options.ts';
import { Narrowed } from './narrowed.ts';
import { type Wrapped, wrap } from './wrapping.ts';

export interface SubsetOptions {
  /** How many replicas this engine talks to. */
  readonly size: number;
  /** Tells this engine from the others; the same over restarts. */
  readonly client: string;
}

interface Subset {
  readonly member: Uint8Array;
  readonly narrowed: Narrowed;
}

/**
 * Keeps an engine to a part of a large pool, so that many engines do not all connect to all replicas. The part is chosen
 * by rendezvous hashing of client and replica: when a replica comes or goes, at most one member changes. When no
 * member is a candidate, the whole pool is.
 */
export function withSubset(inner: RoutingStrategy, options: SubsetOptions): RoutingStrategy<Wrapped<Subset>> {
  const { size } = readNumbers(
    'subset',
    options,
    { size: { value: 0, min: 1, max: 1_000_000, whole: true } },
    ['client'],
  );
  const { client } = optionsOf('subset', options);
  if (typeof client !== 'string' || client === '')
    throw invalid('subset', 'client', 'expected the name of this engine');
  const key = hash32(client);
  const chosen = (ids: readonly string[]): Uint8Array => {
    const ranked = ids
      .map((id, index) => ({ index, id, score: score32(key, hash32(id)) }))
      .sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1));
    const member = new Uint8Array(ids.length);
    for (const { index } of ranked.slice(0, size)) member[index] = 1;
    return member;
  };
  return wrap(inner, {
    name: 'subset',
    around: (other) => withSubset(other, options),
    init: (_, ids) => ({ member: chosen(ids), narrowed: new Narrowed() }),
    resize: (own, _, ids) => ({ member: chosen(ids), narrowed: own.narrowed }),
    pick(s, ctx) {
      const { member, narrowed } = s.own;
      if (ctx.view.n <= size) return inner.pick(s.inner, ctx);
      narrowed.of(ctx);
      for (const i of ctx.candidates) if (member[i] === 1) narrowed.candidates.push(i);
      return inner.pick(s.inner, narrowed.candidates.length === 0 ? ctx : narrowed);
    },
  });
}

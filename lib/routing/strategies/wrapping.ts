import type { RoutingStrategy } from '../strategy.ts';

/** The state of a wrapper: its own, and that of the strategy inside. */
export interface Wrapped<T> {
  readonly own: T;
  readonly inner: unknown;
}

/** What a wrapper adds; everything else is the strategy inside. */
export interface Wrapper<T> {
  readonly name: string;
  init(n: number, ids: readonly string[]): T;
  resize(own: T, remap: Int32Array, ids: readonly string[]): T;
  pick: RoutingStrategy<Wrapped<T>>['pick'];
  snapshot?(own: T): unknown;
  restore?(json: unknown): T;
  /** The wrapper around another strategy. */
  around(inner: RoutingStrategy): RoutingStrategy;
}

/** A strategy around a strategy: keeps both states through resize, snapshot and restore. */
export function wrap<T>(inner: RoutingStrategy, wrapper: Wrapper<T>): RoutingStrategy<Wrapped<T>> {
  const strategy: RoutingStrategy<Wrapped<T>> = {
    name: `${wrapper.name}(${inner.name})`,
    ...(inner.keyed === undefined ? {} : { keyed: inner.keyed }),
    ...(inner.ordered === undefined ? {} : { ordered: inner.ordered }),
    ...(inner.cost === undefined ? {} : { cost: inner.cost }),
    rewrap: (other) => wrapper.around(inner.rewrap?.(other) ?? other),
    init: (n, ids) => ({ own: wrapper.init(n, ids), inner: inner.init(n, ids) }),
    pick: (s, ctx) => wrapper.pick(s, ctx),
    resize: (s, remap, ids) => ({
      own: wrapper.resize(s.own, remap, ids),
      inner: inner.resize === undefined ? inner.init(ids.length, ids) : inner.resize(s.inner, remap, ids),
    }),
  };
  if (inner.observe !== undefined) strategy.observe = (s, event) => inner.observe!(s.inner, event);
  if (inner.snapshot !== undefined && inner.restore !== undefined && wrapper.restore !== undefined) {
    strategy.snapshot = (s) => ({ own: wrapper.snapshot?.(s.own), inner: inner.snapshot!(s.inner) });
    strategy.restore = (json) => {
      const kept = json as { own: unknown; inner: unknown };
      return { own: wrapper.restore!(kept.own), inner: inner.restore!(kept.inner) };
    };
  }
  return strategy;
}

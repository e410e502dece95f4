/** What has to happen to get from one set of named things to another. Pure. */
export interface Reconciliation {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly changed: readonly string[];
  readonly kept: readonly string[];
}

/** Compares two configurations by name; whoever is the same by `same` is not touched. */
export function reconcile<T extends { readonly name: string }>(
  before: readonly T[],
  after: readonly T[],
  same: (a: T, b: T) => boolean,
): Reconciliation {
  const old = new Map(before.map((item) => [item.name, item]));
  const names = new Set(after.map((item) => item.name));
  const added: string[] = [];
  const changed: string[] = [];
  const kept: string[] = [];
  for (const item of after) {
    const previous = old.get(item.name);
    if (previous === undefined) added.push(item.name);
    else if (same(previous, item)) kept.push(item.name);
    else changed.push(item.name);
  }
  return {
    added,
    changed,
    kept,
    removed: before.map((item) => item.name).filter((name) => !names.has(name)),
  };
}

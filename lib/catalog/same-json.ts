/** Deeper than any message that is let in by default. */
const MAX_DEPTH = 100;

/** How many values may still be compared: an object of this process can be far larger than it looks. */
export interface Comparisons {
  left: number;
}

/**
 * Whether two values, both parsed from JSON, say the same, whatever the order of their keys. False where that cannot be
 * known: it would take more comparisons than are left, they nest deeper than 100 levels, they share an object (its owner
 * may have changed it, in both), or there is something in them that JSON does not have. Throws what a getter throws.
 */
export function sameJson(a: unknown, b: unknown, comparisons: Comparisons, depth = MAX_DEPTH): boolean {
  if ((comparisons.left -= 1) < 0 || depth === 0) return false;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b;
  if (a === b) return false;
  if (Array.isArray(a)) {
    if (!Array.isArray(b) || a.length !== b.length) return false;
    for (let i = 0; i < a.length; i += 1) if (!sameJson(a[i], b[i], comparisons, depth - 1)) return false;
    return true;
  }
  if (Array.isArray(b) || !isPlain(a) || !isPlain(b)) return false;
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  for (const key of keys) {
    if (!Object.hasOwn(b, key)) return false;
    const one = (a as Readonly<Record<string, unknown>>)[key];
    const other = (b as Readonly<Record<string, unknown>>)[key];
    if (!sameJson(one, other, comparisons, depth - 1)) return false;
  }
  return true;
}

function isPlain(value: object): boolean {
  return Object.getPrototypeOf(value) === Object.prototype;
}

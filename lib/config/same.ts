import type { ResolvedServer } from './config.ts';

/**
 * Whether two servers are configured alike, so that a new configuration leaves the connections alone. Data is compared
 * deeply, functions and objects with behaviour (an in-process factory, an auth provider) by identity.
 */
export function sameServer(a: ResolvedServer, b: ResolvedServer): boolean {
  return same(a, b, undefined);
}

/** Pairs on the way down; only data of a program can have circles, so the list is made late. */
interface Above {
  readonly a: object;
  readonly b: object;
  readonly above: Above | undefined;
}

function same(a: unknown, b: unknown, above: Above | undefined): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (a instanceof URL) return b instanceof URL && a.href === b.href;
  if (Array.isArray(a)) {
    if (!Array.isArray(b) || a.length !== b.length) return false;
    const pair = { a, b, above };
    return isAbove(pair) || a.every((item, i) => same(item, b[i], pair));
  }
  if (!isData(a) || !isData(b)) return false;
  const pair = { a, b, above };
  if (isAbove(pair)) return true;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && same(a[key as never], b[key as never], pair))
  );
}

function isAbove({ a, b, above }: Above): boolean {
  for (let pair = above; pair !== undefined; pair = pair.above) if (pair.a === a && pair.b === b) return true;
  return false;
}

function isData(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

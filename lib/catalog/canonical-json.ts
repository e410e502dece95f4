import { TroupeError } from '../core/errors.ts';

/** Far above what a message may hold (depth 100, 16 MB); reached only by objects of an in-process server. */
const MAX_DEPTH = 1000;
const MAX_NODES = 1_000_000;

/**
 * JSON with the keys of every object in order of their UTF-16 code units, so that equal values have equal texts
 * whatever order they came in. As with JSON, what JSON cannot hold is left out of objects and `null` in arrays. What
 * contains itself is written `<up n>`, which no JSON text can contain. `toJSON` is not called. Throws
 * `limit_exceeded` rather than leave something out unseen.
 */
export function canonicalJson(value: unknown): string {
  const out: string[] = [];
  const above: object[] = [];
  let nodes = 0;

  const write = (node: unknown): void => {
    if ((nodes += 1) > MAX_NODES) throw tooLarge(`more than ${MAX_NODES} values`);
    if (typeof node !== 'object' || node === null) {
      out.push(scalar(node));
      return;
    }
    const up = above.lastIndexOf(node);
    if (up !== -1) {
      out.push(`<up ${above.length - up}>`);
      return;
    }
    if (above.length >= MAX_DEPTH) throw tooLarge(`more than ${MAX_DEPTH} levels`);
    above.push(node);
    if (Array.isArray(node)) writeArray(node);
    else writeObject(node as Readonly<Record<string, unknown>>);
    above.pop();
  };
  const writeArray = (items: readonly unknown[]): void => {
    out.push('[');
    for (let i = 0; i < items.length; i += 1) {
      if (i > 0) out.push(',');
      write(items[i]);
    }
    out.push(']');
  };
  const writeObject = (object: Readonly<Record<string, unknown>>): void => {
    out.push('{');
    let first = true;
    for (const key of Object.keys(object).sort()) {
      const member = object[key];
      if (member === undefined || typeof member === 'function' || typeof member === 'symbol') continue;
      if (!first) out.push(',');
      first = false;
      out.push(JSON.stringify(key), ':');
      write(member);
    }
    out.push('}');
  };

  write(value);
  return out.join('');
}

function scalar(value: unknown): string {
  if (typeof value === 'bigint') return `<bigint ${value}>`;
  return JSON.stringify(value) ?? 'null';
}

function tooLarge(what: string): TroupeError {
  return new TroupeError('limit_exceeded', `a definition holds ${what} and cannot be compared`);
}

import { createHmac } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

/** What the trail keeps of arguments: what they looked like, and a fingerprint to compare with, never their values. */
export interface ArgumentDigest {
  /** `{city:string,days:number,tags:[string ×3]}`, at most 512 characters. */
  readonly shape: string;
  /** HMAC-SHA-256 over the JSON with sorted keys, hex; absent for what is not JSON. */
  readonly hmac?: string;
}

const MAX_SHAPE = 512;
const MAX_DEPTH = 6;
const MAX_KEYS = 32;
const MAX_KEY = 64;

export function digestOf(value: unknown, key: KeyObject): ArgumentDigest {
  const shape = shapeOf(value, 0);
  const text = shape.length > MAX_SHAPE ? `${shape.slice(0, MAX_SHAPE - 1)}…` : shape;
  const json = sortedJson(value);
  return json === undefined
    ? { shape: text }
    : { shape: text, hmac: createHmac('sha256', key).update(json).digest('hex') };
}

function shapeOf(value: unknown, depth: number): string {
  if (value === null) return 'null';
  if (typeof value !== 'object') return typeof value;
  if (depth === MAX_DEPTH) return '…';
  if (Array.isArray(value)) {
    const items = value as unknown[];
    return items.length === 0 ? '[]' : `[${shapeOf(items[0], depth + 1)} ×${items.length}]`;
  }
  const keys = Object.keys(value);
  const shown = keys.slice(0, MAX_KEYS).map((key) => {
    const name = key.length > MAX_KEY ? `${key.slice(0, MAX_KEY)}…` : key;
    return `${name}:${shapeOf((value as Record<string, unknown>)[key], depth + 1)}`;
  });
  if (keys.length > MAX_KEYS) shown.push(`… ${keys.length - MAX_KEYS} more`);
  return `{${shown.join(',')}}`;
}

function sortedJson(value: unknown): string | undefined {
  try {
    return JSON.stringify(value, sortKeys);
  } catch {
    return undefined;
  }
}

function sortKeys(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

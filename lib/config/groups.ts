import type { CacheConfig, CacheEntryConfig, RateLimitConfig, RestartConfig, StopConfig } from './config.ts';
import * as defaults from './defaults.ts';
import type { NumberOption, NumberOptions } from './defaults.ts';
import { checkedNumber, invalid, kindOf, type Fields } from './fields.ts';

/** Reads one group of numbers; what is not given comes from `base`. Unknown keys in it are errors. */
function readNumbers<T extends object>(
  fields: Fields,
  options: NumberOptions<T>,
  base: T,
): { -readonly [K in keyof T]: T[K] } {
  const rows = options as Readonly<Record<string, NumberOption>>;
  const from = base as Readonly<Record<string, number>>;
  const result: Record<string, number> = {};
  for (const key of Object.keys(rows)) {
    const option = rows[key];
    if (option !== undefined) result[key] = fields.number(key, option) ?? from[key] ?? option.value;
  }
  fields.nothingElse();
  return result as { -readonly [K in keyof T]: T[K] };
}

/** The defaults of each group, frozen and shared by all servers that have nothing else. */
const known = new WeakMap<object, object>();

export function defaultsOf<T extends object>(options: NumberOptions<T>): Readonly<T> {
  let defaults = known.get(options);
  if (defaults === undefined) {
    const rows = Object.entries(options as Readonly<Record<string, NumberOption>>);
    defaults = Object.freeze(Object.fromEntries(rows.map(([key, option]) => [key, option.value])));
    known.set(options, defaults);
  }
  return defaults as Readonly<T>;
}

/** `[small, large]`: a default that the written one would contradict gives way; two written ones must agree. */
function order<T extends object>(
  fields: Fields,
  group: T,
  small: keyof T & string,
  large: keyof T & string,
): void {
  const numbers = group as Record<string, number>;
  const [low, high] = [numbers[small] ?? 0, numbers[large] ?? 0];
  if (low <= high) return;
  const [lowGiven, highGiven] = [fields.get(small) !== undefined, fields.get(large) !== undefined];
  if (lowGiven && highGiven) {
    throw invalid(
      fields.place(small),
      `is ${low}, more than ${large} (${high})`,
      'give the smaller value here',
    );
  }
  if (lowGiven) numbers[large] = low;
  else numbers[small] = high;
}

export function readGroup<T extends object>(
  parent: Fields,
  key: string,
  options: NumberOptions<T>,
  base: Readonly<T>,
  ...ordered: (readonly [keyof T & string, keyof T & string])[]
): Readonly<T> {
  const fields = parent.fields(key);
  if (fields === undefined) return base;
  const group = readNumbers(fields, options, base);
  for (const [small, large] of ordered) order(fields, group, small, large);
  return Object.freeze(group);
}

/** A layer of the path: `true` takes the defaults, `false` or `null` switches it off. */
export function readLayer<T extends object>(
  parent: Fields,
  key: keyof typeof defaults.LAYER_ON,
  options: NumberOptions<T>,
  absent: boolean,
  ...ordered: (readonly [keyof T & string, keyof T & string])[]
): Readonly<T> | undefined {
  const value = parent.raw(key);
  if (value === false || value === null) return undefined;
  if (value === undefined) return absent ? defaultsOf(options) : undefined;
  if (value === true) return defaultsOf(options);
  if (typeof value !== 'object') {
    throw invalid(parent.place(key), `is ${kindOf(value)}`, 'give true, false or an object with its options');
  }
  return readGroup(parent, key, options, defaultsOf(options), ...ordered);
}

export function readRateLimit(parent: Fields): RateLimitConfig | undefined {
  const value = parent.get('rateLimit');
  if (value === undefined || value === false) return undefined;
  const { perSecond, burst } = defaults.rateLimit;
  if (typeof value === 'number') {
    const rate = checkedNumber(value, perSecond, parent.place('rateLimit'));
    return Object.freeze({ perSecond: rate, burst: burstOf(rate) });
  }
  const fields = parent.fields('rateLimit');
  if (fields === undefined) return undefined;
  const rate = fields.number('perSecond', perSecond);
  if (rate === undefined) throw invalid(fields.place('perSecond'), 'is missing', 'give requests per second');
  const limit = { perSecond: rate, burst: fields.number('burst', burst) ?? burstOf(rate) };
  fields.nothingElse();
  return Object.freeze(limit);
}

function burstOf(perSecond: number): number {
  return Math.max(1, Math.ceil(perSecond));
}

export function readRestart(parent: Fields, base: RestartConfig): RestartConfig {
  return readGroup(parent, 'restart', defaults.restart, base, ['baseMs', 'capMs']);
}

/** The two waits fit into the whole; where only the whole is given and it is short, they shrink with it. */
export function readStop(parent: Fields, base: StopConfig): StopConfig {
  const fields = parent.fields('stop');
  if (fields === undefined) return base;
  const stop = readNumbers(fields, defaults.stop, base);
  if (stop.eofMs + stop.sigtermMs > stop.graceMs) {
    const given = (key: string): boolean => fields.get(key) !== undefined;
    if (given('graceMs') && (given('eofMs') || given('sigtermMs'))) {
      throw invalid(
        fields.place('graceMs'),
        `is ${stop.graceMs}, less than eofMs and sigtermMs together`,
        'give the whole time of the stop',
      );
    }
    if (given('graceMs')) {
      // The share that the defaults leave to each step: 500 of 2000.
      stop.eofMs = Math.floor(stop.graceMs / 4);
      stop.sigtermMs = Math.floor(stop.graceMs / 4);
    } else stop.graceMs = stop.eofMs + stop.sigtermMs;
  }
  return Object.freeze(stop);
}

export const CACHE_DEFAULTS: CacheConfig = Object.freeze({
  lists: defaultsOf(defaults.cache.lists),
  resources: defaultsOf(defaults.cache.resources),
  tools: defaultsOf(defaults.cache.tools),
});

const CACHE_OFF: CacheEntryConfig = Object.freeze({ ttlMs: 0, maxBytes: 0 });

export function readCache(parent: Fields, base: CacheConfig): CacheConfig {
  const value = parent.get('cache');
  if (value === undefined) return base;
  if (value === true) return CACHE_DEFAULTS;
  if (value === false) return Object.freeze({ lists: CACHE_OFF, resources: CACHE_OFF, tools: CACHE_OFF });
  const fields = parent.fields('cache') as Fields;
  const entry = (key: keyof CacheConfig): CacheEntryConfig => {
    const written = fields.get(key);
    if (written === false) return CACHE_OFF;
    if (written === true) return CACHE_DEFAULTS[key];
    return readGroup(fields, key, defaults.cache[key], base[key]);
  };
  const cache = { lists: entry('lists'), resources: entry('resources'), tools: entry('tools') };
  fields.nothingElse();
  return Object.freeze(cache);
}

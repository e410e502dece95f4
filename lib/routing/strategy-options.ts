import { TroupeError } from '../core/errors.ts';
import { type Json, isJson } from '../core/json-rpc.ts';

/** A number a strategy accepts; the bounds are inclusive. */
export interface NumberOption {
  readonly value: number;
  readonly min: number;
  readonly max: number;
  readonly whole?: boolean;
}

/**
 * Reads the options of a strategy from its configuration. Throws `config_invalid` for a value out of range and for a
 * key that is none of the known ones: a misspelt option must not silently be a default.
 */
export function readNumbers<K extends string>(
  strategy: string,
  options: unknown,
  known: Readonly<Record<K, NumberOption>>,
  others: readonly string[] = [],
): Record<K, number> {
  const given = optionsOf(strategy, options);
  const names = Object.keys(known) as K[];
  for (const key of Object.keys(given)) {
    if (given[key] === undefined || names.includes(key as K) || others.includes(key)) continue;
    const all = [...names, ...others];
    throw invalid(
      strategy,
      key,
      all.length === 0 ? 'it takes no options' : `its options are ${all.join(', ')}`,
    );
  }
  const read = {} as Record<K, number>;
  for (const key of names) {
    const { value, min, max, whole = false } = known[key];
    const got = given[key] ?? value;
    if (
      typeof got !== 'number' ||
      !(got >= min && got <= max) ||
      (whole && !Number.isInteger(got) && got !== Infinity)
    ) {
      throw invalid(strategy, key, `expected a ${whole ? 'whole ' : ''}number from ${min} to ${max}`);
    }
    read[key] = got;
  }
  return read;
}

export function optionsOf(strategy: string, options: unknown): Json {
  if (options === undefined || options === null) return {};
  if (isJson(options)) return options;
  throw new TroupeError('config_invalid', `routing.${strategy}: the options must be an object`, {
    data: { field: 'routing', strategy },
  });
}

export function invalid(strategy: string, option: string, remedy: string): TroupeError {
  return new TroupeError(
    'config_invalid',
    `routing: option "${option}" of strategy "${strategy}": ${remedy}`,
    {
      data: { field: `routing.${option}`, strategy },
    },
  );
}

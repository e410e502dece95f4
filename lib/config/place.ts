import type { TroupeError } from '../core/errors.ts';
import type { Place } from './config.ts';
import { invalid, nearest, type Fields } from './fields.ts';
import { expectType, readType } from './place-type.ts';
import { readProgram } from './program.ts';
import type { Reading } from './reading.ts';
import { readRemote } from './remote.ts';
import { TARGET_KEYS, URL_KEYS } from './target.ts';

/** Where one replica is: a program, an address, or a function; exactly one of them. */
export function readPlace(fields: Fields, allowInsecure: boolean, reading: Reading): Place {
  const given = TARGET_KEYS.filter((key) => fields.get(key) !== undefined);
  const urls = given.filter((key) => (URL_KEYS as readonly string[]).includes(key));
  const targets = given.length - Math.max(0, urls.length - 1);
  if (targets === 0) throw nowhere(fields);
  if (targets > 1) {
    throw invalid(
      fields.place(given[1] ?? ''),
      `stands beside ${given[0]}`,
      `keep one of ${given.join(', ')}`,
    );
  }
  const declared = readType(fields);
  const [target = 'command'] = given;
  if (target === 'command') {
    expectType(fields, declared, 'stdio', ['stdio'], 'command');
    refuse(fields, ['headers'], 'command');
    return readProgram(fields, reading);
  }
  refuse(fields, ['args', 'env', 'environment', 'envFile', 'cwd'], target);
  if (target !== 'server' && target !== 'transport') {
    return readRemote(fields, urls, declared, allowInsecure, reading);
  }
  refuse(fields, ['headers'], target);
  const make = fields.callable(target) as () => unknown;
  return Object.freeze(
    target === 'server' ? { kind: 'in-process', server: make } : { kind: 'custom', transport: make },
  );
}

function nowhere(fields: Fields): TroupeError {
  for (const key of Object.keys(fields.rest())) {
    const meant = nearest(key, TARGET_KEYS);
    if (meant !== undefined) return invalid(fields.place(key), 'is not an option', `did you mean ${meant}?`);
  }
  return invalid(
    fields.at,
    'says nowhere what to run or where to connect',
    'give one of command, url, server, transport',
  );
}

/** Fields that would be ignored are refused: whoever wrote them expects an effect. Empty ones are harmless. */
function refuse(fields: Fields, keys: readonly string[], target: string): void {
  for (const key of keys) {
    const value = fields.get(key);
    const empty =
      value === undefined ||
      value === '' ||
      (typeof value === 'object' && value !== null && Object.keys(value).length === 0);
    if (!empty) throw invalid(fields.place(key), `has no meaning beside ${target}`, 'remove it');
  }
}

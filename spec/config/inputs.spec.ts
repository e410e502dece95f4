import { describe, expect, it, jest } from '@jest/globals';
import { answerInputs, type Inputs } from '../../lib/config/inputs.ts';
import { OBJECT_ORIGIN } from '../../lib/config/fields.ts';
import { findServers } from '../../lib/config/shape.ts';
import { isTroupeError, type TroupeError } from '../../lib/core/errors.ts';
import { invalidAt } from '../support/config-expectations.ts';

const definitions = [
  { type: 'promptString', id: 'key', description: 'API key', password: true },
  { type: 'promptString', id: 'region', default: 'eu' },
  { type: 'pickString', id: 'level', options: ['low', { label: 'High', value: 'high' }] },
];

function answers(
  servers: object,
  inputs?: Inputs,
  defined: unknown = definitions,
): Promise<ReadonlyMap<string, string>> {
  return answerInputs(findServers({ servers, inputs: defined }, OBJECT_ORIGIN), inputs, OBJECT_ORIGIN);
}

async function rejection(promise: Promise<unknown>): Promise<TroupeError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!isTroupeError(error)) throw new Error('it did not reject with an error of ours', { cause: error });
  return error;
}

const s = { command: 'x', env: { K: '${input:key}' }, args: ['${input:region}', '${input:key}'] };

describe('answerInputs', () => {
  it('takes answers from an object, then from the definition', async () => {
    expect([...(await answers({ s }, { key: 'k' }))]).toEqual([
      ['key', 'k'],
      ['region', 'eu'],
    ]);
    expect([...(await answers({ s }, { key: 'k', region: 'us' }))]).toContainEqual(['region', 'us']);
  });

  it('asks a function once for each input in use, with its definition', async () => {
    const ask = jest.fn<Extract<Inputs, (...args: never[]) => unknown>>((id) => Promise.resolve(`<${id}>`));
    const result = await answers(
      { s, t: s, off: { command: 'x', args: ['${input:level}'], disabled: true } },
      ask,
    );
    expect([...result]).toEqual([
      ['key', '<key>'],
      ['region', '<region>'],
    ]);
    expect(ask).toHaveBeenCalledTimes(2);
    expect(ask).toHaveBeenCalledWith(
      'key',
      expect.objectContaining({ description: 'API key', password: true, type: 'promptString' }),
    );
  });

  it('leaves what nobody answers to the field that needs it', async () => {
    expect([...(await answers({ s: { command: '${input:none}' } }, {}))]).toEqual([]);
    expect([...(await answers({ s: { command: '${input:constructor}' } }, {}))]).toEqual([]);
  });

  it('accepts an option, by its value too, and refuses what is none', async () => {
    const level = { command: 'x', args: ['${input:level}'] };
    expect((await answers({ s: level }, { level: 'high' })).get('level')).toBe('high');
    expect(await rejection(answers({ s: level }, { level: 'High' }))).toEqual(
      invalidAt('args[0]', /none of its options/, /low, high/),
    );
  });

  it('says who asked when answering fails', async () => {
    const boom = new Error('no terminal');
    const error = await rejection(answers({ s }, () => Promise.reject(boom)));
    expect(error).toEqual(invalidAt('env.K', /"key", which was not answered/));
    expect([error.server, error.cause]).toEqual(['s', boom]);
    expect(await rejection(answers({ s }, (() => 3) as unknown as Inputs))).toEqual(
      invalidAt('env.K', /is 3/),
    );
  });

  it.each([
    ['x', 'inputs', /string/],
    [[null], 'inputs[0]', /null/],
    [[{}], 'inputs[0].id', /missing/],
    [[{ id: 'a' }, { id: 'a' }], 'inputs[1].id', /twice/],
    [[{ id: 'a', options: 'b' }], 'inputs[0].options', /list/],
    [[{ id: 'a', options: [1] }], 'inputs[0].options[0]', /is 1/],
  ])('refuses inputs %j at %s', async (defined, field, problem) => {
    expect(await rejection(answers({ s }, {}, defined))).toEqual(invalidAt(field, problem));
  });
});

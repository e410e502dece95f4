import { describe, expect, it } from '@jest/globals';
import {
  concatLists,
  joinTexts,
  reduceAnswers,
  type AnswerRow,
  type ReducerName,
} from '../../lib/catalog/reducers.ts';
import { TroupeError } from '../../lib/core/errors.ts';

const ok = (server: string, result: Record<string, unknown>): AnswerRow => ({ server, ok: true, result });
const failed = (server: string): AnswerRow => ({
  server,
  ok: false,
  error: new TroupeError('unavailable', 'down', { server }),
});
const text = (...texts: string[]): Record<string, unknown> => ({
  content: texts.map((t) => ({ type: 'text', text: t })),
});
const image = { type: 'image', data: '' };

describe('lists', () => {
  it('stand one behind the other under their key', () => {
    const rows = [ok('a', { tools: [1] }), failed('b'), ok('c', { tools: [2, 1] }), ok('d', { other: [9] })];
    expect(reduceAnswers('lists', rows)).toEqual({ tools: [1, 2, 1] });
    expect(reduceAnswers(concatLists({ key: 'other' }), rows)).toEqual({ other: [9] });
    expect(reduceAnswers('lists', [])).toEqual({ items: [] });
  });

  it('lose what is the same, where the host says what that is', () => {
    const dedupe = (item: unknown): string | undefined => (item as { uri?: string }).uri;
    const rows = [
      ok('a', { resources: [{ uri: 'x', n: 1 }, {}] }),
      ok('b', { resources: [{ uri: 'x', n: 2 }, {}] }),
    ];
    expect(reduceAnswers(concatLists({ dedupe }), rows)).toEqual({ resources: [{ uri: 'x', n: 1 }, {}, {}] });
  });

  it('take a key that is a property of every object', () => {
    const row = ok('a', JSON.parse('{"__proto__":[1]}') as Record<string, unknown>);
    const reduced = reduceAnswers(concatLists({ key: '__proto__' }), [row]) as object;
    expect(Object.entries(reduced)).toEqual([['__proto__', [1]]]);
    expect(reduceAnswers(concatLists({ key: 'constructor' }), [row])).toEqual({ constructor: [] });
  });
});

describe('contents and texts', () => {
  it('join what all answered', () => {
    const rows = [
      ok('a', text('1', '2')),
      failed('b'),
      ok('c', { content: [image, { type: 'text', text: '3' }], isError: true }),
    ];
    expect(reduceAnswers('contents', rows)).toEqual({
      content: [{ type: 'text', text: '1' }, { type: 'text', text: '2' }, image, { type: 'text', text: '3' }],
    });
    expect(reduceAnswers('texts', rows)).toBe('1\n2\n3');
    expect(reduceAnswers(joinTexts({ separator: ' | ', label: (server) => `${server}: ` }), rows)).toBe(
      'a: 1\n2 | c: 3',
    );
    expect(reduceAnswers('texts', [ok('a', { contents: [{ uri: 'x', text: 'read' }] })])).toBe('read');
  });

  it('are an error only where every answer is one', () => {
    expect(reduceAnswers('contents', [ok('a', { ...text('no'), isError: true }), failed('b')])).toMatchObject(
      { isError: true },
    );
    expect(reduceAnswers('contents', [failed('b')])).toEqual({ content: [] });
  });
});

describe('first', () => {
  it('is the first that succeeded, else the first that answered, else nothing', () => {
    const error = { isError: true };
    const good = { content: [] };
    expect(reduceAnswers('first', [failed('a'), ok('b', error), ok('c', good)])).toBe(good);
    expect(reduceAnswers('first', [failed('a'), ok('b', error)])).toBe(error);
    expect(reduceAnswers('first', [failed('a')])).toBeUndefined();
  });
});

describe('a reducer', () => {
  it('that throws is a typed error with its name', () => {
    const cause = new Error('boom');
    function tally(): never {
      throw cause;
    }
    expect(() => reduceAnswers(tally, [])).toThrow(
      expect.objectContaining({
        code: 'internal',
        message: '[internal] the reducer "tally" threw: boom',
        cause,
      }),
    );
  });

  it('that rejects is one too', async () => {
    const tally = async (): Promise<never> => {
      throw new Error('boom');
    };
    await expect(reduceAnswers(tally, [])).rejects.toMatchObject({
      code: 'internal',
      message: expect.stringContaining('"tally"'),
    });
  });

  it.each(['nope', '__proto__', 'constructor'])('called %s does not exist', (name) => {
    expect(() => reduceAnswers(name as ReducerName, [])).toThrow(
      /invalid_request.*lists, contents, texts, first/,
    );
  });
});

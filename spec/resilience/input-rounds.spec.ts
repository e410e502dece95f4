import { describe, expect, it } from '@jest/globals';
import { Cancellation } from '../../lib/core/cancellation.ts';
import type { Response } from '../../lib/core/interceptor.ts';
import type { Json } from '../../lib/core/json-rpc.ts';
import type { Request } from '../../lib/core/request.ts';
import { type InputRequest, inputRounds } from '../../lib/resilience/input-rounds.ts';
import { failure, readOf, requestOf, scriptedHandler } from '../support/requests.ts';
import { createVirtualClock } from '../support/virtual-clock.ts';

const DONE: Response = { resultType: 'complete', content: [] };
const ask = (requests: unknown, state?: unknown): Response => ({
  resultType: 'input_required',
  ...(requests !== undefined && { inputRequests: requests }),
  ...(state !== undefined && { requestState: state }),
});
const elicit = (message: string) => ({ method: 'elicitation/create', params: { message } });

function bench(answer?: (request: Request, key: string, input: InputRequest) => Promise<Json>) {
  const clock = createVirtualClock();
  const asked: Array<[string, InputRequest]> = [];
  const through = inputRounds({
    clock,
    answer: (request, key, input) => {
      asked.push([key, input]);
      return answer?.(request, key, input) ?? Promise.resolve({ action: 'accept', key });
    },
    maxRounds: () => 10,
  });
  return { clock, asked, through };
}

describe('input rounds', () => {
  it('once the server has answered, no failure says that it never had the request', async () => {
    const { through } = bench(() => Promise.reject(new Error('nobody there')));
    await expect(through(scriptedHandler(ask({ q: elicit('?') })))(requestOf())).rejects.toMatchObject({
      code: 'internal',
      delivery: 'answered',
    });
    const again = bench().through(scriptedHandler(ask({ q: elicit('?') }), failure('unavailable')));
    await expect(again(requestOf())).rejects.toMatchObject({ code: 'unavailable', delivery: 'answered' });
  });

  it('a complete result, said or unsaid, is handed on', async () => {
    const { through, asked } = bench();
    for (const response of [DONE, { content: [] }]) {
      const below = scriptedHandler(response);
      await expect(through(below)(requestOf())).resolves.toBe(response);
      expect(below.requests).toHaveLength(1);
    }
    expect(asked).toEqual([]);
  });

  it('answers what is asked and repeats the request with answers and state, byte for byte', async () => {
    const { through, asked } = bench();
    const state = '{"a": "ü\\u0000"}  ';
    const below = scriptedHandler(
      ask({ name: elicit('Who?'), dir: { method: 'roots/list' } }, state),
      ask({ again: elicit('Sure?') }),
      DONE,
    );
    const request = requestOf({ params: { name: 'echo', arguments: { a: 1 }, _meta: { k: 1 } } });
    await expect(through(below)(request)).resolves.toBe(DONE);
    expect(asked).toEqual([
      ['name', elicit('Who?')],
      ['dir', { method: 'roots/list', params: undefined }],
      ['again', elicit('Sure?')],
    ]);
    const original = { name: 'echo', arguments: { a: 1 }, _meta: { k: 1 } };
    expect(below.requests.map((r) => r.params)).toEqual([
      original,
      {
        ...original,
        inputResponses: { name: { action: 'accept', key: 'name' }, dir: { action: 'accept', key: 'dir' } },
        requestState: state,
      },
      // Answers belong to one round; no state given, none sent.
      { ...original, inputResponses: { again: { action: 'accept', key: 'again' } } },
    ]);
    expect(request.facts.rounds).toBe(2);
    expect(below.requests.map((r) => [r.attempt, r.tried])).toEqual([
      [1, []],
      [1, []],
      [1, []],
    ]);
  });

  it('a server that only wants to be asked again is, a little later', async () => {
    const { clock, through, asked } = bench();
    const below = scriptedHandler(ask(undefined, 's1'), DONE);
    await expect(clock.settle(through(below)(readOf('a:1')))).resolves.toBe(DONE);
    expect(clock.now()).toBe(1_250);
    expect(below.requests[1]?.params).toEqual({ uri: 'a:1', requestState: 's1' });
    expect(asked).toEqual([]);
  });

  it('ends after the tenth round with a typed error', async () => {
    const { through, asked } = bench();
    const below = scriptedHandler(ask({ q: elicit('?') }));
    await expect(through(below)(requestOf())).rejects.toMatchObject({
      code: 'limit_exceeded',
      message: '[limit_exceeded] alpha: tools/call alpha__echo still asks for input after 10 rounds',
      delivery: 'answered',
    });
    expect([below.requests.length, asked.length]).toEqual([11, 10]);
  });

  it.each<[string, Partial<Request>, Response, string]>([
    ['an unknown type', {}, { resultType: 'task' }, 'has a result of unknown type "task"'],
    ['a type that is no string', {}, { resultType: 7 }, 'unknown type 7'],
    [
      'a list that asks back',
      { method: 'tools/list', target: undefined },
      ask({}),
      'tools/list must not be answered with input_required',
    ],
    ['requests that are no object', {}, ask([1]), '`inputRequests` is no object'],
    ['a request without method', {}, ask({ q: { params: {} } }), 'request "q" has no method'],
    [
      'params that are no object',
      {},
      ask({ q: { method: 'm', params: 3 } }),
      'the params of request "q" are no object',
    ],
    ['a state that is no string', {}, ask({}, { a: 1 }), '`requestState` is no string'],
  ])('%s is invalid_response', async (_what, change, response, message) => {
    const { through, asked } = bench();
    const outcome = through(scriptedHandler(response))(requestOf(change));
    await expect(outcome).rejects.toMatchObject({
      code: 'invalid_response',
      delivery: 'answered',
      message: expect.stringContaining(message) as unknown,
    });
    expect(asked).toEqual([]);
  });

  it('asks at most four things of the host at the same time', async () => {
    let running = 0;
    let most = 0;
    const { through } = bench(async () => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => void setImmediate(resolve));
      running--;
      return {};
    });
    const questions = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`q${i}`, elicit('?')]));
    const below = scriptedHandler(ask(questions), DONE);
    await through(below)(requestOf());
    expect(most).toBe(4);
    expect(Object.keys(below.requests[1]?.params?.['inputResponses'] ?? {})).toEqual(Object.keys(questions));
  });

  it('one refusal ends the operation and the other questions of the round', async () => {
    const seen: Request[] = [];
    const { through, asked } = bench((request, key) => {
      seen.push(request);
      return key === 'q1' ? Promise.reject(failure('denied')) : new Promise(() => {});
    });
    const below = scriptedHandler(
      ask(Object.fromEntries([0, 1, 2, 3, 4, 5].map((i) => [`q${i}`, elicit('?')]))),
    );
    const request = requestOf();
    await expect(through(below)(request)).rejects.toMatchObject({ code: 'denied' });
    expect(asked).toHaveLength(4);
    expect(seen.every((r) => r.cancellation.reason?.code === 'denied')).toBe(true);
    expect(request.cancellation.cancelled).toBe(false);
    expect(below.requests).toHaveLength(1);
  });

  it('an answer that is thrown by foreign code is an internal error, not an unhandled one', async () => {
    const { through } = bench(() => {
      throw new TypeError('host bug');
    });
    await expect(through(scriptedHandler(ask({ q: elicit('?') })))(requestOf())).rejects.toMatchObject({
      code: 'internal',
    });
  });

  it('the caller leaving ends the waiting for a host, and the pause', async () => {
    const { clock, through } = bench(() => new Promise(() => {}));
    for (const response of [ask({ q: elicit('?') }), ask(undefined, 's')]) {
      const cancellation = new Cancellation();
      const below = scriptedHandler(response);
      const outcome = through(below)(requestOf({ cancellation }));
      outcome.catch(() => {});
      await clock.flush();
      cancellation.cancel(failure('deadline_exceeded'));
      await expect(outcome).rejects.toMatchObject({ code: 'deadline_exceeded' });
      expect(clock.armed).toBe(0);
      expect(below.requests).toHaveLength(1);
    }
  });
});

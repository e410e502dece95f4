import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { RpcMessage } from '../../../lib/core/json-rpc.ts';
import { createInbound, type Inbound, type InboundOptions } from '../../../lib/mcp/wire/inbound.ts';
import { createRecordingReceiver, type RecordingReceiver } from '../../support/recording-receiver.ts';

interface Scene extends RecordingReceiver {
  readonly inbound: Inbound;
  readonly pass: (ms: number) => void;
}

function scene(limits: Partial<InboundOptions['limits']> = {}): Scene {
  const receiver = createRecordingReceiver();
  let now = 0;
  const inbound = createInbound({
    limits: {
      messageBytes: 10_000,
      depth: 100,
      notificationsPerSecond: 10,
      notificationBurst: 20,
      ...limits,
    },
    now: () => now,
    receiver,
    server: 'peer',
  });
  return { ...receiver, inbound, pass: (ms) => void (now += ms) };
}

const text = (message: unknown): string => JSON.stringify(message);
const bytes = (message: unknown): Buffer => Buffer.from(text(message));
const note = {
  jsonrpc: '2.0',
  method: 'notifications/progress',
  params: { progressToken: 't1', progress: 1 },
};
const answer = { jsonrpc: '2.0', id: 't1', result: { content: [] } };

describe('messages that are well', () => {
  it.each([
    answer,
    note,
    { jsonrpc: '2.0', id: 0, result: {} },
    { jsonrpc: '2.0', id: 5, method: 'ping' },
    { jsonrpc: '2.0', id: 'a', method: 'sampling/createMessage', params: { messages: [] } },
    { jsonrpc: '2.0', id: 't1', error: { code: -32601, message: 'no', data: { more: 1 } } },
    { jsonrpc: '2.0', id: null, error: { code: -32700, message: 'parse error' } },
    { jsonrpc: '2.0', error: { code: -32700, message: 'parse error' } },
    { jsonrpc: '2.0', id: 't1', result: { text: 'Grüße, 世界 🌍' } },
    { jsonrpc: '2.0', id: 't1', result: {}, vendor: 'kept' },
  ])('are delivered from bytes and from text: %j', (message) => {
    const { inbound, messages, oddities } = scene();
    inbound.read(bytes(message));
    inbound.read(text(message));
    expect(messages).toEqual([message, message]);
    expect(oddities).toEqual([]);
  });

  it('are delivered one by one from a batch, in order', () => {
    const { inbound, messages } = scene();
    inbound.read(bytes([answer, note, { jsonrpc: '2.0', id: 2, result: {} }]));
    expect(messages).toEqual([answer, note, { jsonrpc: '2.0', id: 2, result: {} }]);
  });

  it('may begin with a byte order mark', () => {
    const { inbound, messages } = scene();
    inbound.read(Buffer.from(`\uFEFF${text(answer)}`));
    expect(messages).toEqual([answer]);
  });

  it('keep prototype keys as plain properties and pollute nothing', () => {
    const { inbound, messages } = scene();
    inbound.read(
      '{"jsonrpc":"2.0","id":1,"__proto__":{"polluted":1},"result":{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}}',
    );
    const result = (messages[0] as { result: Record<string, unknown> }).result;
    expect(Object.keys(result)).toEqual(['__proto__', 'constructor']);
    expect(Object.getPrototypeOf(result)).toBe(Object.prototype);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });
});

describe('answers that are malformed', () => {
  it.each([
    [{ id: 't1', result: {} }, 'jsonrpc'],
    [{ jsonrpc: '1.0', id: 't1', result: {} }, 'jsonrpc'],
    [{ jsonrpc: '2.0', id: 't1', result: {}, error: { code: 1, message: 'x' } }, 'both'],
    [{ jsonrpc: '2.0', id: 't1' }, 'neither'],
    [{ jsonrpc: '2.0', id: 't1', result: 'text' }, 'a string'],
    [{ jsonrpc: '2.0', id: 't1', result: null }, 'null'],
    [{ jsonrpc: '2.0', id: 't1', result: [] }, 'an array'],
    [{ jsonrpc: '2.0', id: 't1', error: 'text' }, 'a string'],
    [{ jsonrpc: '2.0', id: 't1', error: { message: 'x' } }, 'code'],
    [{ jsonrpc: '2.0', id: 't1', error: { code: 1.5, message: 'x' } }, 'code'],
    [{ jsonrpc: '2.0', id: 't1', error: { code: 1 } }, 'message'],
  ])('end their request at once: %j', (message, named) => {
    const { inbound, messages, unanswered, oddities } = scene();
    inbound.read(bytes(message));
    expect(messages).toEqual([]);
    expect(oddities).toEqual([]);
    expect(unanswered).toEqual([
      ['t1', expect.objectContaining({ code: 'invalid_response', delivery: 'answered', server: 'peer' })],
    ]);
    expect(unanswered[0]?.[1].message).toContain(named);
  });

  it('end it when they are not valid UTF-8', () => {
    const { inbound, messages, unanswered } = scene();
    const [head, tail] = text({ jsonrpc: '2.0', id: 't1', result: { text: '#' } }).split('#');
    inbound.read(
      Buffer.concat([Buffer.from(head ?? ''), Buffer.from([0xc3, 0x28]), Buffer.from(tail ?? '')]),
    );
    expect(messages).toEqual([]);
    expect(unanswered).toEqual([['t1', expect.objectContaining({ code: 'invalid_response' })]]);
    expect(unanswered[0]?.[1].message).toContain('UTF-8');
  });

  it('end it when they break off', () => {
    const { inbound, unanswered } = scene();
    inbound.read('{"jsonrpc":"2.0","id":"t1","result":{"content":[{"ty');
    expect(unanswered).toEqual([['t1', expect.objectContaining({ code: 'invalid_response' })]]);
  });

  it('end it when they are too long, too deep, or both, wherever the id stands', () => {
    const { inbound, unanswered, messages } = scene({ messageBytes: 4000, depth: 10 });
    const deep = JSON.parse('['.repeat(50) + ']'.repeat(50)) as unknown;
    inbound.read(bytes({ jsonrpc: '2.0', id: 't1', result: { text: 'x'.repeat(4000) } }));
    inbound.read(text({ result: { text: 'x'.repeat(4000) }, jsonrpc: '2.0', id: 't2' }));
    inbound.read(bytes({ jsonrpc: '2.0', id: 't3', result: { deep } }));
    inbound.read(text({ result: { deep, text: 'x'.repeat(4000) }, jsonrpc: '2.0', id: 't4' }));
    // Counted in bytes, not in characters.
    inbound.read(text({ jsonrpc: '2.0', id: 't5', result: { text: 'ü'.repeat(1990) } }));
    expect(messages).toEqual([]);
    expect(unanswered.map(([id, error]) => [id, error.code])).toEqual(
      ['t1', 't2', 't3', 't4', 't5'].map((id) => [id, 'limit_exceeded']),
    );
  });

  it('end it when they were thrown away while they arrived', () => {
    const { inbound, unanswered, oddities } = scene();
    inbound.readTooLong(
      Buffer.from('{"jsonrpc":"2.0","id":"t1","result":{"tex'),
      20_000_000,
      Buffer.from('xx"}}'),
    );
    inbound.readTooLong(
      Buffer.from('{"result":{"te'),
      20_000_000,
      Buffer.from('x"},"jsonrpc":"2.0","id":"t2"}'),
    );
    inbound.readTooLong(Buffer.from('banner banner'), 20_000_000, Buffer.from('banner'));
    expect(unanswered.map(([id, error]) => [id, error.code])).toEqual([
      ['t1', 'limit_exceeded'],
      ['t2', 'limit_exceeded'],
    ]);
    expect(unanswered[0]?.[1].message).toContain('20000000 bytes');
    expect(oddities.map((error) => error.code)).toEqual(['limit_exceeded']);
  });
});

describe('what belongs to no request', () => {
  it.each([
    ['', 'not JSON'],
    ['Server listening on port 3000', 'Server listening'],
    ['\u001b[32mready\u001b[0m', '\\u001b[32mready'],
    ['null', 'null'],
    ['"text"', 'a string'],
    ['3', 'a number'],
    ['[]', 'empty batch'],
    ['[1]', 'a number'],
    ['{}', 'jsonrpc'],
    ['{"jsonrpc":"2.0"}', 'neither'],
    ['{"jsonrpc":"2.0","id":null,"result":{}}', 'null'],
    ['{"jsonrpc":"2.0","id":{},"result":{}}', 'an object'],
    ['{"jsonrpc":"2.0","id":{},"error":{"code":1,"message":"x"}}', 'an object'],
    ['{"jsonrpc":"2.0","id":1e999,"result":{}}', 'a number'],
    ['{"jsonrpc":"2.0","method":5}', 'a number'],
    ['{"method":"notifications/x"}', 'jsonrpc'],
    ['{"jsonrpc":"2.0","id":null,"method":"ping"}', 'null'],
    ['{"jsonrpc":"2.0","method":"notifications/x","params":[1]}', 'an array'],
    ['{"jsonrpc":"2.0","id":"t1","method":"x","result":{}}', 'a method and a result'],
  ])('is an oddity: %s', (frame, named) => {
    const { inbound, messages, unanswered, oddities } = scene();
    inbound.read(frame);
    expect([...messages, ...unanswered]).toEqual([]);
    expect(oddities).toEqual([expect.objectContaining({ code: 'invalid_response', server: 'peer' })]);
    expect(oddities[0]?.message).toContain(named);
    inbound.read(Buffer.from(frame));
    expect(oddities[1]?.message).toBe(oddities[0]?.message);
  });

  it('is an oddity when it is not valid UTF-8, and a request or notification is not delivered', () => {
    const { inbound, messages, oddities } = scene();
    inbound.read(Buffer.from([0xff, 0xfe, 0x00]));
    inbound.read(
      Buffer.concat([Buffer.from('{"jsonrpc":"2.0","method":"'), Buffer.from([0xff]), Buffer.from('"}')]),
    );
    expect(messages).toEqual([]);
    expect(oddities).toHaveLength(2);
  });

  it('does not spoil the rest of its batch', () => {
    const { inbound, messages, oddities, unanswered } = scene();
    inbound.read(text([1, answer, { id: 't2', result: {} }, [], note]));
    expect(messages).toEqual([answer, note]);
    expect(unanswered.map(([id]) => id)).toEqual(['t2']);
    expect(oddities).toHaveLength(2);
  });
});

describe('an array of very many messages', () => {
  it.each([
    ['objects', '{"id":1}'],
    ['answers', text(answer)],
    ['numbers', '1'],
    ['texts with brackets and commas', '"],\\",["'],
    ['arrays', '[[],{}]'],
  ])('is refused as one oddity, unparsed: %s', (_what, member) => {
    const { inbound, messages, unanswered, oddities } = scene({ messageBytes: 20_000_000 });
    const frame = ` [${Array.from({ length: 200_000 }).fill(member).join(' , ')}]`;
    const before = performance.now();
    inbound.read(frame);
    expect([...messages, ...unanswered]).toEqual([]);
    expect(oddities).toEqual([expect.objectContaining({ code: 'limit_exceeded' })]);
    expect(oddities[0]?.message).toContain('2000 messages');
    // Taking them apart takes seconds.
    expect(performance.now() - before).toBeLessThan(500);
  });

  it('is read up to that number, and makes one error of one fault', () => {
    const { inbound, messages, unanswered } = scene({ messageBytes: 20_000_000 });
    const parts = [
      ...Array.from({ length: 1_000 }).fill('{"id":1}'),
      ...Array.from({ length: 1_000 }).fill(text(answer)),
    ];
    inbound.read(`[${parts.join(',')}]`);
    expect([messages.length, unanswered.length]).toEqual([1_000, 1_000]);
    expect(new Set(unanswered.map(([, error]) => error)).size).toBe(1);
  });

  it('is not taken for one because of what its members hold', () => {
    const { inbound, messages } = scene({ messageBytes: 20_000_000 });
    const long = {
      jsonrpc: '2.0',
      id: 't1',
      result: { list: Array.from({ length: 5_000 }, () => [1, '],', {}]) },
    };
    inbound.read(text([long, answer]));
    inbound.read(text(long));
    expect(messages).toEqual([long, answer, long]);
  });
});

describe('the rate of notifications', () => {
  it('has drops told at least once a second', () => {
    const { inbound, oddities, pass } = scene();
    for (let i = 0; i < 100; i += 1) {
      for (let n = 0; n < 10; n += 1) inbound.read(bytes(note));
      pass(100);
    }
    const told = oddities.filter(
      ({ data }) => (data as { reason?: unknown }).reason === 'notifications_dropped',
    );
    expect(told.length).toBeGreaterThanOrEqual(10);
    expect(told.length).toBeLessThanOrEqual(20);
  });

  it('lets a burst through, drops what is above, and reports it at powers of two', () => {
    const { inbound, messages, oddities } = scene();
    for (let i = 0; i < 120; i += 1) inbound.read(bytes(note));
    expect(messages).toHaveLength(20);
    expect(oddities.map((error) => error.code)).toEqual(Array.from({ length: 7 }, () => 'limit_exceeded'));
    expect(oddities.map((error) => /(\d+) dropped/.exec(error.message)?.[1])).toEqual([
      '1',
      '2',
      '4',
      '8',
      '16',
      '32',
      '64',
    ]);
  });

  it('lets the sustained rate through', () => {
    const { inbound, messages, oddities, pass } = scene();
    for (let i = 0; i < 100; i += 1) {
      inbound.read(bytes(note));
      pass(100);
    }
    expect(messages).toHaveLength(100);
    expect(oddities).toEqual([]);
  });

  it('does not save up more than a burst', () => {
    const { inbound, messages, pass } = scene();
    pass(3_600_000);
    for (let i = 0; i < 100; i += 1) inbound.read(bytes(note));
    expect(messages).toHaveLength(20);
  });

  it('never drops an answer or a request of the server', () => {
    const { inbound, messages } = scene();
    const kept = [
      answer,
      { jsonrpc: '2.0', method: 'ping', id: 1 },
      {
        params: { text: '{"method":"notifications/x"}' },
        method: 'sampling/createMessage',
        jsonrpc: '2.0',
        id: 'q',
      },
      { jsonrpc: '2.0', error: { code: 1, message: 'method' }, id: 't3' },
    ];
    for (let i = 0; i < 100; i += 1) inbound.read(bytes(note));
    for (const message of kept) inbound.read(bytes(message));
    expect(messages.slice(20)).toEqual(kept);
  });

  it('never drops either within a batch, where only the notifications go', () => {
    const { inbound, messages } = scene();
    for (let i = 0; i < 100; i += 1) inbound.read(bytes(note));
    inbound.read(bytes([note, answer, note]));
    inbound.read(bytes([note, note]));
    expect(messages.slice(20)).toEqual([answer]);
  });

  it('counts garbage too', () => {
    const { inbound, oddities } = scene();
    for (let i = 0; i < 1020; i += 1) inbound.read('garbage');
    expect(oddities.filter((error) => error.code === 'invalid_response')).toHaveLength(20);
    expect(oddities.filter((error) => error.code === 'limit_exceeded')).toHaveLength(10);
  });

  it('may be unlimited', () => {
    const { inbound, messages } = scene({ notificationsPerSecond: Infinity, notificationBurst: Infinity });
    for (let i = 0; i < 2000; i += 1) inbound.read(bytes(note));
    expect(messages).toHaveLength(2000);
  });
});

describe('read', () => {
  it('never throws, whatever comes', () => {
    const { inbound } = scene({ notificationsPerSecond: Infinity });
    const shaped = fc.record(
      {
        jsonrpc: fc.oneof(fc.constant('2.0'), fc.jsonValue()),
        id: fc.jsonValue(),
        method: fc.jsonValue(),
        params: fc.jsonValue(),
        result: fc.jsonValue(),
        error: fc.oneof(fc.record({ code: fc.jsonValue(), message: fc.jsonValue() }), fc.jsonValue()),
      },
      { requiredKeys: [] },
    );
    const frame = fc.oneof(
      fc.uint8Array().map((array) => Buffer.from(array)),
      fc.string({ unit: 'binary' }),
      fc.json(),
      shaped.map((message) => JSON.stringify(message)),
      fc.array(shaped).map((messages) => Buffer.from(JSON.stringify(messages))),
    );
    fc.assert(fc.property(frame, (frame) => expect(() => inbound.read(frame)).not.toThrow()));
  });

  it('delivers only what has the outline of a message', () => {
    const { inbound, messages } = scene({ notificationsPerSecond: Infinity });
    const value = fc.oneof(
      fc.jsonValue(),
      fc.constant('2.0'),
      fc.constant({}),
      fc.constant({ code: 1, message: 'x' }),
    );
    const keys = fc.constantFrom('jsonrpc', 'id', 'method', 'params', 'result', 'error');
    fc.assert(
      fc.property(fc.dictionary(keys, value), (fields) => {
        messages.length = 0;
        inbound.read(JSON.stringify({ jsonrpc: '2.0', ...fields }));
        for (const message of messages as Array<RpcMessage & Record<string, unknown>>) {
          expect(message['jsonrpc']).toBe('2.0');
          const kinds = ['method', 'result', 'error'].filter((key) => message[key] !== undefined);
          expect(kinds).toHaveLength(1);
        }
      }),
    );
  });

  it('goes on after a receiver that throws, and tells it', () => {
    const { inbound: _, ...receiver } = scene();
    const thrown = new Error('defect');
    const seen: RpcMessage[] = [];
    const inbound = createInbound({
      limits: { messageBytes: 1000, depth: 10, notificationsPerSecond: 10, notificationBurst: 10 },
      now: () => 0,
      receiver: {
        ...receiver,
        onMessage(message) {
          seen.push(message);
          throw thrown;
        },
      },
    });
    inbound.read(text([answer, answer]));
    expect(seen).toHaveLength(2);
    expect(receiver.oddities).toEqual([
      expect.objectContaining({ code: 'internal', cause: thrown }),
      expect.objectContaining({ code: 'internal', cause: thrown }),
    ]);
  });

  it('survives a receiver of which everything throws', () => {
    const fail = (): never => {
      throw new Error('defect');
    };
    const inbound = createInbound({
      limits: { messageBytes: 100, depth: 10, notificationsPerSecond: 1, notificationBurst: 1 },
      now: () => 0,
      receiver: { onMessage: fail, onUnanswered: fail, onClose: fail, onOddity: fail },
    });
    for (const frame of [text(answer), 'garbage', text({ id: 1, result: {} }), 'x'.repeat(200), text(note)]) {
      expect(() => inbound.read(frame)).not.toThrow();
    }
    expect(() => inbound.readTooLong(Buffer.from('x'), 1000, Buffer.from('x'))).not.toThrow();
  });
});

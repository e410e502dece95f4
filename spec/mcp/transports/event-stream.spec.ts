import { describe, expect, it } from '@jest/globals';
import { EventStreamParser } from '../../../lib/mcp/transports/event-stream.ts';

function parse(
  pieces: readonly (string | Buffer)[],
  limit = 1_000,
): { parser: EventStreamParser; events: string[][] } {
  const events: string[][] = [];
  const parser = new EventStreamParser(limit, (data, type) => events.push([type, data.toString()]));
  for (const piece of pieces) parser.push(Buffer.from(piece as string));
  return { parser, events };
}

describe('event stream parser', () => {
  it.each([
    ['a message', 'data: one\n\n', [['message', 'one']]],
    ['a named event', 'event: endpoint\ndata: /x\n\n', [['endpoint', '/x']]],
    ['data on several lines', 'data: a\ndata:b\ndata:  c\n\n', [['message', 'a\nb\n c']]],
    ['an empty first line of data', 'data\ndata: b\n\n', [['message', '\nb']]],
    ['two empty lines of data', 'data\ndata\n\n', [['message', '\n']]],
    ['an empty event', 'data:\n\n', [['message', '']]],
    [
      'line ends of every kind',
      'data: a\r\n\r\ndata: b\r\rdata: c\n\n',
      [
        ['message', 'a'],
        ['message', 'b'],
        ['message', 'c'],
      ],
    ],
    ['a byte order mark', '\ufeffdata: a\n\n', [['message', 'a']]],
    ['comments and unknown fields', ': hello\nfoo: bar\ndatabase: no\ndata: a\n:\n\n', [['message', 'a']]],
    ['an event without data', 'event: ping\n\ndata: a\n\n', [['message', 'a']]],
    ['an event that the end cuts off', 'data: a\n\ndata: b\n', [['message', 'a']]],
    ['more than ASCII', 'data: "häß→😀"\n\n', [['message', '"häß→😀"']]],
  ])('reads %s', (_name, text, expected) => {
    expect(parse([text]).events).toEqual(expected);
  });

  it('reads the same from any cut of the bytes', () => {
    const bytes = Buffer.from(
      '\ufeffid: 7\r\nretry: 250\r\nevent: message\r\ndata: {"a":"→"}\r\ndata: x\r\n\r\n: c\r\rdata: 2\n\n',
    );
    const whole = parse([bytes]).events;
    expect(whole).toEqual([
      ['message', '{"a":"→"}\nx'],
      ['message', '2'],
    ]);
    for (let cut = 1; cut < bytes.length; cut += 1) {
      expect(parse([bytes.subarray(0, cut), bytes.subarray(cut)]).events).toEqual(whole);
    }
    const { events, parser } = parse([...bytes].map((byte) => Buffer.from([byte])));
    expect(events).toEqual(whole);
    expect(parser.lastEventId).toBe('7');
    expect(parser.retryMs).toBe(250);
  });

  it('keeps the id of the last complete event, also of one without data', () => {
    expect(parse(['id: a\ndata: 1\n\n', 'id: b\ndata: 2\n']).parser.lastEventId).toBe('a');
    expect(parse(['id: p\nretry: 5\ndata:\n\n']).parser.lastEventId).toBe('p');
    expect(parse(['id: a\ndata: 1\n\nid\ndata: 2\n\n']).parser.lastEventId).toBeUndefined();
  });

  it('ignores ids and times that cannot be used', () => {
    const { parser } = parse(
      [
        `id: good\nretry: 10\ndata: 1\n\nid: a\u0000b\nretry: 1e3\ndata: 2\n\nid: ${'x'.repeat(5_000)}\ndata: 3\n\n`,
      ],
      10_000,
    );
    expect(parser.lastEventId).toBe('good');
    expect(parser.retryMs).toBe(10);
  });

  it.each([
    ['one long line', [`data: ${'x'.repeat(200)}\n\n`]],
    ['a line that never ends', ['data: ', ...Array.from({ length: 50 }, () => 'xxxx')]],
    ['many lines', Array.from({ length: 30 }, () => 'data: xxxxx\n')],
    ['many empty lines of data', Array.from({ length: 200 }, () => 'data\n')],
  ])('refuses an event larger than the limit: %s', (_name, pieces) => {
    expect(() => parse(pieces, 100)).toThrow(
      /^\[limit_exceeded\] an event of the stream is larger than 100 bytes/,
    );
  });

  it('takes an event of exactly the limit', () => {
    expect(parse([`data: ${'x'.repeat(100)}\n\n`], 100).events).toHaveLength(1);
  });

  it('says nothing more once stopped, not even the rest of the piece', () => {
    const events: string[] = [];
    const parser = new EventStreamParser(100, (data) => {
      events.push(data.toString());
      parser.stop();
    });
    parser.push(Buffer.from('data: 1\n\ndata: 2\n\n'));
    parser.push(Buffer.from('data: 3\n\n'));
    expect(events).toEqual(['1']);
  });

  it('takes linear time where lines have no colon and events no end', () => {
    const parser = new EventStreamParser(64_000_000, () => {});
    const started = performance.now();
    const lines = Buffer.from('x\n'.repeat(500_000));
    for (let i = 0; i < 8; i += 1) parser.push(lines);
    const piece = Buffer.alloc(1_400, 0x61);
    for (let i = 0; i < 20_000; i += 1) parser.push(piece);
    // Quadratic work over these 36 MB would take minutes.
    expect(performance.now() - started).toBeLessThan(10_000);
  });
});

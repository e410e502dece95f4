import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createFrameReader } from '../../../lib/mcp/wire/frames.ts';
import { GLANCE_BYTES } from '../../../lib/mcp/wire/glance.ts';

interface Seen {
  readonly frames: string[];
  readonly tooLong: Array<{ readonly head: string; readonly bytes: number; readonly tail: string }>;
}

function split(chunks: Iterable<Uint8Array | string>, maxBytes = 1_000_000): Seen {
  const seen: Seen = { frames: [], tooLong: [] };
  const reader = createFrameReader({
    maxBytes,
    onFrame: (frame) => seen.frames.push(frame.toString('latin1')),
    onTooLong: (head, bytes, tail) =>
      seen.tooLong.push({ head: head.toString('latin1'), bytes, tail: tail.toString('latin1') }),
  });
  for (const chunk of chunks)
    reader.push(typeof chunk === 'string' ? Buffer.from(chunk, 'latin1') : Buffer.from(chunk));
  reader.end();
  return seen;
}

describe('createFrameReader', () => {
  it.each([
    [['a\nb\n'], ['a', 'b']],
    [['a\r\nb\r\n'], ['a', 'b']],
    [
      ['a\r', '\nb'],
      ['a', 'b'],
    ],
    [['\n\n\r\n\na\n\n'], ['a']],
    [['a'], ['a']],
    [['a\r'], ['a']],
    [['\r'], []],
    [['a\rb\n'], ['a\rb']],
    [['a\r\r\n'], ['a\r']],
    [
      ['ab', 'cd', '', 'ef\ngh', '\n'],
      ['abcdef', 'gh'],
    ],
    [[], []],
  ])('%j → %j', (chunks, frames) => {
    expect(split(chunks)).toEqual({ frames, tooLong: [] });
  });

  it('skips a line that is too long and reads on behind it', () => {
    const { frames, tooLong } = split(['one\n12345', '678', '901\r\ntwo\n', '123456\nthree'], 5);
    expect(frames).toEqual(['one', 'two', 'three']);
    expect(tooLong).toEqual([
      { head: '12345678901', bytes: 11, tail: '12345678901' },
      { head: '123456', bytes: 6, tail: '123456' },
    ]);
  });

  it('measures a line without its ending', () => {
    for (const chunks of [['12345\r\n'], ['12345', '\r', '\n'], ['12345\n'], ['12345\r']]) {
      expect(split(chunks, 5)).toEqual({ frames: ['12345'], tooLong: [] });
    }
  });

  it('keeps the ends of a long line, and counts all of it', () => {
    const head = 'h'.repeat(GLANCE_BYTES);
    const tail = 't'.repeat(GLANCE_BYTES);
    const chunks = [
      head.slice(0, 10),
      head.slice(10),
      ...Array.from({ length: 99 }, () => 'x'.repeat(999)),
      tail,
      '\r\n',
    ];
    expect(split(chunks, 5000).tooLong).toEqual([{ head, bytes: 2 * GLANCE_BYTES + 99 * 999, tail }]);
  });

  it('gives the same lines for every chunking of any bytes', () => {
    const byte = fc.oneof(
      { weight: 3, arbitrary: fc.constantFrom(0x0a, 0x0d, 0x7b, 0xc3) },
      { weight: 2, arbitrary: fc.integer({ min: 0, max: 255 }) },
    );
    fc.assert(
      fc.property(
        fc.array(byte, { maxLength: 400, size: 'max' }),
        fc.array(fc.nat(400), { maxLength: 40, size: 'max' }),
        fc.integer({ min: 1, max: 30 }),
        (bytes, cuts, maxBytes) => {
          const all = Uint8Array.from(bytes);
          const at = [0, ...cuts.filter((cut) => cut <= all.length).sort((a, b) => a - b), all.length];
          const chunks = at.slice(1).map((end, i) => all.subarray(at[i], end));
          const lines = Buffer.from(all)
            .toString('latin1')
            .split('\n')
            .map((line) => line.replace(/\r$/, ''))
            .filter((line) => line !== '');
          const expected: Seen = {
            frames: lines.filter((line) => line.length <= maxBytes),
            tooLong: lines
              .filter((line) => line.length > maxBytes)
              .map((line) => ({
                head: line.slice(0, GLANCE_BYTES),
                bytes: line.length,
                tail: line.slice(-GLANCE_BYTES),
              })),
          };
          expect(split(chunks, maxBytes)).toEqual(expected);
          expect(split([all], maxBytes)).toEqual(expected);
        },
      ),
    );
  });

  it('reads a line of 100 MB in small chunks in linear time', () => {
    const chunk = Buffer.alloc(65_536, 'x');
    const time = (megabytes: number): number => {
      const start = process.cpuUsage();
      let bytes = 0;
      const reader = createFrameReader({
        maxBytes: 200_000_000,
        onFrame: (frame) => {
          bytes += frame.length;
        },
        onTooLong: () => {},
      });
      for (let i = 0; i < megabytes * 16; i += 1) reader.push(chunk);
      reader.push(Buffer.from('\n'));
      expect(bytes).toBe(megabytes * 1_048_576);
      const { user, system } = process.cpuUsage(start);
      return user + system;
    };
    // In quadratic time (the SDK's reader) this takes more than a minute of processor time, here about one second.
    expect(time(100)).toBeLessThan(15_000_000);
  });

  it('does not hold a line that is too long', () => {
    const chunk = Buffer.alloc(65_536, 'x');
    const before = process.memoryUsage().arrayBuffers;
    let peak = 0;
    const reader = createFrameReader({ maxBytes: 1_000_000, onFrame: () => {}, onTooLong: () => {} });
    for (let i = 0; i < 4000; i += 1) {
      reader.push(chunk);
      peak = Math.max(peak, process.memoryUsage().arrayBuffers);
    }
    expect(peak - before).toBeLessThan(50_000_000);
  });
});

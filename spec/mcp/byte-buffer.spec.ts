import { describe, expect, it } from '@jest/globals';
import { ByteBuffer } from '../../lib/mcp/byte-buffer.ts';

describe('byte buffer', () => {
  it('hands a single piece back without a copy', () => {
    const bytes = new ByteBuffer();
    const piece = Buffer.from('one');
    bytes.push(Buffer.alloc(0));
    bytes.push(piece);
    expect(bytes.take()).toBe(piece);
    expect(bytes.length).toBe(0);
    expect(bytes.take()).toHaveLength(0);
  });

  it('joins pieces of any size and starts anew', () => {
    const bytes = new ByteBuffer();
    let expected = '';
    for (let i = 0; i < 3_000; i += 1) {
      const piece = String(i).repeat((i % 7) + 1);
      expected += piece;
      bytes.push(Buffer.from(piece));
    }
    expect(bytes.length).toBe(expected.length);
    expect(bytes.take().toString()).toBe(expected);
    bytes.push(Buffer.from('a'));
    bytes.push(Buffer.from('b'));
    expect(bytes.take().toString()).toBe('ab');
  });

  it('leaves the pieces as they were', () => {
    const bytes = new ByteBuffer();
    const first = Buffer.from('abc');
    bytes.push(first);
    bytes.push(Buffer.from('def'));
    bytes.take().fill(0);
    expect(first.toString()).toBe('abc');
  });

  it('lends what it has, and uses the memory of copies again, never that of a piece', () => {
    const bytes = new ByteBuffer();
    const piece = Buffer.alloc(100_000, 'p');
    bytes.push(piece);
    bytes.lend((lent) => expect(lent).toBe(piece));
    const seen: ArrayBufferLike[] = [];
    const lend = (letter: string): void => {
      bytes.push(Buffer.alloc(70_000, letter));
      bytes.push(Buffer.alloc(70_000, letter));
      bytes.lend((lent) => {
        seen.push(lent.buffer);
        expect(lent.equals(Buffer.alloc(140_000, letter))).toBe(true);
      });
    };
    lend('a');
    lend('b');
    expect(seen[1]).toBe(seen[0]);
    expect(() => {
      bytes.push(Buffer.alloc(70_000));
      bytes.push(Buffer.alloc(70_000));
      bytes.lend(() => {
        throw new Error('the reader');
      });
    }).toThrow('the reader');
    expect(bytes.length).toBe(0);
    lend('c');
    expect(piece.every((byte) => byte === 0x70)).toBe(true);
  });
});

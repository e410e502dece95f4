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
});

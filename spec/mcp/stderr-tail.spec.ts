import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { StderrTail } from '../../lib/mcp/stderr-tail.ts';

describe('StderrTail', () => {
  it('keeps the last bytes, whatever the chunks', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: 'grapheme-ascii', maxLength: 30 }), { maxLength: 30 }),
        fc.integer({ min: 0, max: 50 }),
        (chunks, limit) => {
          const tail = new StderrTail(limit);
          for (const chunk of chunks) tail.write(Buffer.from(chunk));
          expect(tail.text()).toBe(limit === 0 ? '' : chunks.join('').slice(-limit));
        },
      ),
    );
  });

  it('does not begin with half a character', () => {
    for (let limit = 1; limit < 20; limit += 1) {
      const tail = new StderrTail(limit);
      tail.write(Buffer.from('ä世🌍ä世🌍ä世🌍'));
      expect('ä世🌍ä世🌍ä世🌍'.endsWith(tail.text())).toBe(true);
      expect(Buffer.byteLength(tail.text())).toBeGreaterThan(limit - 4);
    }
  });

  it('replaces what is not UTF-8', () => {
    const tail = new StderrTail(10);
    tail.write(Buffer.from([0x61, 0xff, 0x62]));
    expect(tail.text()).toBe('a\uFFFDb');
  });

  it('tells one listener every chunk', () => {
    const tail = new StderrTail(2);
    const heard: string[] = [];
    tail.write(Buffer.from('before'));
    tail.listen((chunk) => heard.push(chunk.toString()));
    tail.write(Buffer.from('one'));
    tail.write(Buffer.from('two'));
    tail.listen(undefined);
    tail.write(Buffer.from('after'));
    expect(heard).toEqual(['one', 'two']);
    expect(tail.text()).toBe('er');
  });
});

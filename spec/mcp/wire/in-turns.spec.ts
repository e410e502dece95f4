import { describe, expect, it } from '@jest/globals';
import { inTurns } from '../../../lib/mcp/wire/in-turns.ts';

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

function reader() {
  const read: string[] = [];
  const turns = inTurns({
    read: (frame) => read.push(`${typeof frame} ${frame.length} ${frame.toString().slice(0, 3)}`),
    readTooLong: (_head, bytes) => read.push(`too long ${bytes}`),
  });
  return { turns, read };
}

describe('reading in turns', () => {
  it('reads what is small at once, where it is', () => {
    const { turns, read } = reader();
    turns.read(Buffer.from('abc'));
    turns.read('def');
    turns.readTooLong(Buffer.alloc(1), 5, Buffer.alloc(1));
    expect(read).toEqual(['object 3 abc', 'string 3 def', 'too long 5']);
  });

  it('decodes what is large and parses it in the next turn; what follows stays behind it', async () => {
    const { turns, read } = reader();
    const chunk = Buffer.from('tail');
    turns.read(Buffer.alloc(1_048_576, 'x'));
    turns.read(chunk);
    turns.readTooLong(Buffer.alloc(1), 7, Buffer.alloc(1));
    // The memory of the chunk is used again.
    chunk.fill('?');
    expect(read).toEqual([]);
    await turn();
    expect(read).toEqual(['string 1048576 xxx', 'object 4 tai', 'too long 7']);
    turns.read(Buffer.from('abc'));
    expect(read.at(-1)).toBe('object 3 abc');
  });

  it('leaves what is no ASCII to whoever judges its encoding', () => {
    const { turns, read } = reader();
    turns.read(Buffer.alloc(1_048_576, 'ü'));
    expect(read).toEqual(['object 1048576 üüü']);
  });
});

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

  it('decodes what is large in one turn and parses it in the next; what follows stays behind it', async () => {
    const { turns, read } = reader();
    const chunk = Buffer.from('tail');
    turns.read(Buffer.alloc(1_048_576, 'x'));
    turns.read(chunk);
    turns.readTooLong(Buffer.alloc(1), 7, Buffer.alloc(1));
    // The memory of the chunk is used again.
    chunk.fill('?');
    turns.afterwards(() => read.push('all'));
    await turn();
    expect(read).toEqual([]);
    await turn();
    await turn();
    expect(read).toEqual(['string 1048576 xxx', 'object 4 tai', 'too long 7', 'all']);
    turns.afterwards(() => read.push('at once'));
    expect(read.at(-1)).toBe('at once');
    turns.read(Buffer.from('abc'));
    expect(read.at(-1)).toBe('object 3 abc');
  });

  it('gives each large one turns of its own', async () => {
    const { turns, read } = reader();
    turns.read(Buffer.alloc(1_048_576, 'a'));
    turns.read(Buffer.alloc(1_048_576, 'b'));
    await turn();
    await turn();
    expect(read).toEqual(['string 1048576 aaa']);
    await turn();
    await turn();
    expect(read.at(-1)).toBe('string 1048576 bbb');
  });

  it('decodes other text as well, and leaves what is no text to whoever judges it', async () => {
    const { turns, read } = reader();
    turns.read(Buffer.alloc(1_048_576, 'ü'));
    turns.read(Buffer.alloc(1_048_576, 0xff));
    for (let i = 0; i < 4; i += 1) await turn();
    expect(read).toEqual(['string 524288 üüü', expect.stringMatching(/^object 1048576 /)]);
  });
});

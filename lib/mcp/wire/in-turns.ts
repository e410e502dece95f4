import { isAscii } from 'node:buffer';
import type { Inbound } from './inbound.ts';

/**
 * From this size on a message is decoded in one turn of the event loop and parsed in the next. Either touches as much
 * fresh memory as the message has bytes, which is most of what a large one costs: 12 MB took 150 ms at once on a machine
 * with slow page faults, and nobody else was served meanwhile. Smaller ones are read where they are.
 */
const LARGE_BYTES = 1_048_576;

type Read = Pick<Inbound, 'read' | 'readTooLong'>;

/** Reads as `inbound` does, in the order in which messages come, but a large one in two turns. */
export function inTurns(inbound: Read): Read {
  return new Turns(inbound);
}

class Turns implements Read {
  readonly #inbound: Read;
  #waiting: Array<() => void> = [];

  constructor(inbound: Read) {
    this.#inbound = inbound;
  }

  read(frame: Buffer | string): void {
    const large = frame.length >= LARGE_BYTES && typeof frame !== 'string' && isAscii(frame);
    if (large) {
      const text = frame.toString('latin1');
      this.#later(() => this.#inbound.read(text));
    } else if (this.#waiting.length === 0) this.#inbound.read(frame);
    else {
      // It shares memory with a chunk that is used again.
      const copy = typeof frame === 'string' ? frame : Buffer.from(frame);
      this.#later(() => this.#inbound.read(copy));
    }
  }

  readTooLong(head: Buffer, bytes: number, tail: Buffer): void {
    if (this.#waiting.length === 0) this.#inbound.readTooLong(head, bytes, tail);
    else this.#later(() => this.#inbound.readTooLong(head, bytes, tail));
  }

  #later(work: () => void): void {
    this.#waiting.push(work);
    // Before the pipe is looked at again, and before an end that was seen in this turn is told.
    if (this.#waiting.length === 1) setImmediate(this.#go);
  }

  readonly #go = (): void => {
    const works = this.#waiting;
    this.#waiting = [];
    for (const work of works) work();
  };
}

import { isAscii, isUtf8 } from 'node:buffer';
import { LARGE_LINE_BYTES } from './frames.ts';
import type { Inbound } from './inbound.ts';

/**
 * From this size on a message is decoded in a turn of the event loop of its own, and parsed in the next. Each touches as
 * much fresh memory as the message has bytes, as its arrival did, and that is most of what a large one costs: 12 MB took
 * 150 ms at once on a machine with slow page faults, and nobody else was served meanwhile. Smaller ones are read where
 * they are.
 */
const LARGE_BYTES = LARGE_LINE_BYTES;

type Read = Pick<Inbound, 'read' | 'readTooLong'>;

/** Reads in the order in which messages come, large ones in turns. */
export interface TurnReader extends Read {
  /** Calls `then` once everything so far has been read; at once where nothing waits. */
  afterwards(then: () => void): void;
}

export function inTurns(inbound: Read): TurnReader {
  return new Turns(inbound);
}

interface Step {
  readonly run: () => void;
  /** What follows has to wait for the next turn. */
  readonly large: boolean;
}

class Turns implements TurnReader {
  readonly #inbound: Read;
  readonly #steps: Step[] = [];
  #scheduled = false;

  constructor(inbound: Read) {
    this.#inbound = inbound;
  }

  read(frame: Buffer | string): void {
    if (typeof frame !== 'string' && frame.length >= LARGE_BYTES) {
      // It came in many chunks, so its memory is its own.
      let message: Buffer | string = frame;
      this.#later(true, () => {
        message = textOf(frame);
      });
      this.#later(true, () => this.#inbound.read(message));
    } else if (this.#steps.length === 0) this.#inbound.read(frame);
    else {
      // It shares memory with a chunk that is used again.
      const copy = typeof frame === 'string' ? frame : Buffer.from(frame);
      this.#later(false, () => this.#inbound.read(copy));
    }
  }

  readTooLong(head: Buffer, bytes: number, tail: Buffer): void {
    if (this.#steps.length === 0) this.#inbound.readTooLong(head, bytes, tail);
    else this.#later(false, () => this.#inbound.readTooLong(head, bytes, tail));
  }

  afterwards(then: () => void): void {
    if (this.#steps.length === 0) then();
    else this.#later(false, then);
  }

  #later(large: boolean, run: () => void): void {
    this.#steps.push({ run, large });
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#go);
  }

  readonly #go = (): void => {
    this.#scheduled = false;
    for (let step = this.#steps[0]; step !== undefined; step = this.#steps[0]) {
      step.run();
      // Only now: what comes in meanwhile has to stand behind it.
      this.#steps.shift();
      if (step.large && this.#steps.length > 0) {
        this.#scheduled = true;
        setImmediate(this.#go);
        return;
      }
    }
  };
}

/** What is not valid UTF-8 stays bytes, for whoever judges it. */
function textOf(frame: Buffer): Buffer | string {
  if (isAscii(frame)) return frame.toString('latin1');
  return isUtf8(frame) ? frame.toString() : frame;
}

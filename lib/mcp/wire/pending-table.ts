/** A request that waits for its answer. */
export interface Waiting {
  /** As it goes over the wire: `idOf(seq)`. */
  readonly id: string;
  readonly seq: number;
}

/** Ids of this lane start with this letter, so that they can never be taken for the numeric ids of the SDK client. */
const ID_PREFIX = 't';

/** And end with this one: what a server has made of an id by mistake, longer or shorter, is nobody else's. */
const ID_END = '.';

const PREFIX_CODE = ID_PREFIX.charCodeAt(0);
const END_CODE = ID_END.charCodeAt(0);
const ZERO = 48;
const NINE = 57;
/** Characters of an id whose number is exact. */
const MOST_CHARACTERS = 17;
/** Places at first, and again after a time with many. */
const FEW = 16;
const MANY = 1_024;

/**
 * The requests of one connection by their ids, in an array: its numbers are ours, so a place is found without hashing. With
 * a Map, taking the last one out was a third of a call to a server that answers at once (profile of `bench -- call` in memory).
 */
export class PendingTable<P extends Waiting> {
  #places: Array<P | undefined> = emptyPlaces(FEW);
  #size = 0;
  #next = 1;

  get size(): number {
    return this.#size;
  }

  /** The number that the next request is to have; one whose place is taken is left out. */
  nextSeq(): number {
    if (this.#size * 2 >= this.#places.length) this.#resize(this.#places.length * 2);
    const mask = this.#places.length - 1;
    while (this.#places[this.#next & mask] !== undefined) this.#next += 1;
    return this.#next++;
  }

  /** `pending` has a number from `nextSeq`, and none was given since. */
  add(pending: P): void {
    this.#places[pending.seq & (this.#places.length - 1)] = pending;
    this.#size += 1;
  }

  get(id: unknown): P | undefined {
    const seq = typeof id === 'string' ? seqOf(id) : -1;
    if (seq < 0) return undefined;
    const pending = this.#places[seq & (this.#places.length - 1)];
    // The text too: `t01` is no id of ours.
    return pending !== undefined && pending.id === id ? pending : undefined;
  }

  /** False where it had left already. */
  delete(pending: P): boolean {
    const at = pending.seq & (this.#places.length - 1);
    if (this.#places[at] !== pending) return false;
    this.#places[at] = undefined;
    this.#size -= 1;
    if (this.#size === 0 && this.#places.length > MANY) this.#places = emptyPlaces(FEW);
    return true;
  }

  /** Those that wait now, in order of coming. */
  all(): readonly P[] {
    return this.#places.filter((place) => place !== undefined).sort((a, b) => a.seq - b.seq);
  }

  /** Twice as many places: who had different ones has different ones again. */
  #resize(length: number): void {
    const places = emptyPlaces<P>(length);
    for (const place of this.#places) if (place !== undefined) places[place.seq & (length - 1)] = place;
    this.#places = places;
  }
}

function emptyPlaces<P>(length: number): Array<P | undefined> {
  return Array.from<P | undefined>({ length }).fill(undefined);
}

/** The id of the request with this number: `t12.` */
export function idOf(seq: number): string {
  return ID_PREFIX + seq + ID_END;
}

/** Whether it is an id of this lane, which gives none to two requests. */
export function isDispatched(id: unknown): boolean {
  return typeof id === 'string' && seqOf(id) >= 0;
}

/** −1 for what cannot be an id of ours. */
function seqOf(id: string): number {
  const end = id.length - 1;
  if (
    end < 2 ||
    end >= MOST_CHARACTERS ||
    id.charCodeAt(0) !== PREFIX_CODE ||
    id.charCodeAt(end) !== END_CODE
  )
    return -1;
  let seq = 0;
  for (let i = 1; i < end; i += 1) {
    const code = id.charCodeAt(i);
    if (code < ZERO || code > NINE) return -1;
    seq = seq * 10 + code - ZERO;
  }
  return seq;
}

import { isAscii, isUtf8 } from 'node:buffer';
import { TroupeError, isTroupeError, type ErrorCode } from '../../core/errors.ts';
import { isJson, type Json, type RequestId, type RpcMessage } from '../../core/json-rpc.ts';
import type { Limits } from '../../core/limits.ts';
import type { ChannelReceiver } from './channel.ts';
import { endOfNest, endOfString, exceedsDepth } from './depth.ts';
import { DroppedNotifications } from './dropped-notifications.ts';
import { GLANCE_BYTES, mayHaveId, responseId } from './glance.ts';
import { TokenBucket } from './token-bucket.ts';

/**
 * The longest array that is taken apart, in members. We send at most 100 requests in one, and `maxInFlight` are 256; what
 * is longer is an attack: 16 MB hold 1.8 million members, which took 9 s.
 */
const MAX_MEMBERS = 2_000;

export interface InboundOptions {
  readonly limits: Pick<Limits, 'messageBytes' | 'depth' | 'notificationsPerSecond' | 'notificationBurst'>;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  readonly receiver: ChannelReceiver;
  /** Named in the errors. */
  readonly server?: string | undefined;
}

/** What everything a server says goes through, whatever the transport: the limits, and the outline of JSON-RPC. */
export interface Inbound {
  /** One message, or one batch of them (2025-03-26). Never throws, also when the receiver does. */
  read(frame: Buffer | string): void;
  /**
   * One message that was thrown away while it arrived, because it is longer than `messageBytes`: its first and last
   * bytes (`GLANCE_BYTES` are enough), from which the request it answers may be found.
   */
  readTooLong(head: Buffer, bytes: number, tail: Buffer): void;
}

/**
 * Checks, in this order: length, encoding (strict UTF-8), rate of notifications (before anything is parsed: 1 M
 * notifications cost the SDK 20 s), members of an array, nesting, JSON, envelope. A response that fails a check ends the request it
 * belongs to at once (`onUnanswered`); anything else that fails is an oddity.
 *
 * Keys like `__proto__` and `constructor` arrive as ordinary own properties, since `JSON.parse` defines properties and
 * never assigns them: nothing is polluted as long as readers do not merge them into other objects by assignment.
 */
export function createInbound(options: InboundOptions): Inbound {
  return new Reader(options);
}

class Reader implements Inbound {
  readonly #receiver: ChannelReceiver;
  readonly #server: string | undefined;
  readonly #maxBytes: number;
  readonly #maxDepth: number;
  readonly #bucket: TokenBucket;
  readonly #dropped: DroppedNotifications;
  /** The last error, and the text it was made of. */
  #fault: { readonly detail: string; readonly error: TroupeError } | undefined;

  constructor({ limits, now, receiver, server }: InboundOptions) {
    this.#receiver = receiver;
    this.#server = server;
    this.#maxBytes = limits.messageBytes;
    this.#maxDepth = limits.depth;
    this.#bucket = new TokenBucket(limits.notificationsPerSecond, limits.notificationBurst, now);
    this.#dropped = new DroppedNotifications(this.#bucket, now, server);
  }

  read(frame: Buffer | string): void {
    try {
      if (this.#tooLong(frame)) {
        const bytes = typeof frame === 'string' ? Buffer.byteLength(frame) : frame.length;
        this.#refuse(frame, 'limit_exceeded', this.#lengthText(bytes));
      } else this.#readText(frame);
    } catch (error) {
      this.#defect(error);
    }
  }

  readTooLong(head: Buffer, bytes: number, tail: Buffer): void {
    try {
      this.#refuseEnds(
        head.toString('latin1'),
        tail.toString('latin1'),
        'limit_exceeded',
        this.#lengthText(bytes),
      );
    } catch (error) {
      this.#defect(error);
    }
  }

  #readText(frame: Buffer | string): void {
    let fault: string | undefined;
    let text: string;
    if (typeof frame === 'string') text = frame;
    else if (isAscii(frame)) text = frame.toString('latin1');
    else {
      // Read with replacement characters in the bad places, only to find whose answer it is.
      if (!isUtf8(frame)) fault = 'a message that is not valid UTF-8';
      text = frame.toString();
    }
    if (text.charCodeAt(0) === BYTE_ORDER_MARK) text = text.slice(1);
    if (this.#bucket.empty && !mayHaveId(text)) {
      this.#drop();
      return;
    }
    if (hasMoreMembers(text, MAX_MEMBERS)) {
      this.#bucket.take();
      this.#odd('limit_exceeded', `an array of more than ${MAX_MEMBERS} messages`);
      return;
    }
    if (exceedsDepth(text, this.#maxDepth)) {
      this.#bucket.take();
      this.#refuse(
        text,
        'limit_exceeded',
        `a message nested deeper than ${this.#maxDepth} levels (limit \`depth\`)`,
      );
      return;
    }
    let message: unknown;
    try {
      message = JSON.parse(text);
    } catch {
      // Garbage costs as much as notifications do, and counts as one.
      const excerpt = this.#bucket.empty ? '' : `: ${text.slice(0, EXCERPT)}`;
      this.#bucket.take();
      this.#refuse(text, 'invalid_response', `a message that is not JSON${excerpt}`);
      return;
    }
    if (!Array.isArray(message)) this.#readMessage(message, fault);
    else if (message.length === 0) this.#odd('invalid_response', 'an empty batch');
    else for (const member of message as unknown[]) this.#readMember(member, fault);
  }

  #readMember(message: unknown, fault: string | undefined): void {
    if (this.#bucket.empty && !(isJson(message) && message['id'] !== undefined)) this.#drop();
    else this.#readMessage(message, fault);
  }

  /** `fault`: what is already known to be wrong with it. */
  #readMessage(message: unknown, fault: string | undefined): void {
    if (!isJson(message)) {
      this.#bucket.take();
      this.#odd('invalid_response', `a message that is ${nameOf(message)}, not an object`);
      return;
    }
    const id = message['id'];
    if (id === undefined) this.#bucket.take();
    const wrong = fault ?? (message['method'] === undefined ? wrongResponse(message) : wrongCall(message));
    if (wrong === undefined) this.#deliver(message as unknown as RpcMessage);
    else if (message['method'] === undefined && isId(id)) this.#unanswered(id, 'invalid_response', wrong);
    else this.#odd('invalid_response', wrong);
  }

  #deliver(message: RpcMessage): void {
    try {
      this.#receiver.onMessage(message);
    } catch (error) {
      this.#defect(error);
    }
  }

  /** A message that is not read further: whoever waits for it hears of it, if that can be told from its ends. */
  #refuse(frame: Buffer | string, code: ErrorCode, detail: string): void {
    const size = frame.length;
    const ends =
      typeof frame === 'string'
        ? [frame.slice(0, GLANCE_BYTES), frame.slice(Math.max(0, size - GLANCE_BYTES))]
        : [
            frame.toString('latin1', 0, GLANCE_BYTES),
            frame.toString('latin1', Math.max(0, size - GLANCE_BYTES)),
          ];
    this.#refuseEnds(ends[0] ?? '', ends[1] ?? '', code, detail);
  }

  #refuseEnds(head: string, tail: string, code: ErrorCode, detail: string): void {
    const id = responseId(head, tail);
    if (id === undefined) this.#odd(code, detail);
    else this.#unanswered(id, code, detail);
  }

  #drop(): void {
    const told = this.#dropped.another();
    if (told !== undefined) this.#receiver.onOddity(told);
  }

  #tooLong(frame: Buffer | string): boolean {
    const max = this.#maxBytes;
    if (typeof frame !== 'string') return frame.length > max;
    // A UTF-16 unit is one to three bytes of UTF-8: only the range between needs counting.
    return frame.length > max || (frame.length * 3 > max && Buffer.byteLength(frame) > max);
  }

  #lengthText(bytes: number): string {
    return `a message of ${bytes} bytes, of which ${this.#maxBytes} are allowed (limit \`messageBytes\`)`;
  }

  #unanswered(id: RequestId, code: ErrorCode, detail: string): void {
    try {
      this.#receiver.onUnanswered(id, this.#error(code, `the server answered with ${detail}`));
    } catch (error) {
      this.#defect(error);
    }
  }

  #odd(code: ErrorCode, detail: string): void {
    this.#receiver.onOddity(this.#error(code, `the server sent ${detail}`));
  }

  /** An error costs more than the message it is about; who repeats a fault gets the same one. */
  #error(code: ErrorCode, detail: string): TroupeError {
    if (this.#fault?.detail === detail && this.#fault.error.code === code) return this.#fault.error;
    const error = new TroupeError(code, detail, { server: this.#server, delivery: 'answered' });
    this.#fault = { detail, error };
    return error;
  }

  /** A receiver that throws is our own defect; it must not take the other requests of the channel with it. */
  #defect(cause: unknown): void {
    try {
      this.#receiver.onOddity(
        isTroupeError(cause)
          ? cause
          : new TroupeError('internal', 'reading a message failed', { server: this.#server, cause }),
      );
    } catch {
      // Nobody is left to tell.
    }
  }
}

/** Characters of garbage shown: mostly a log line printed on stdout, and worth recognising. */
const EXCERPT = 120;
/** One before the first message is ignored, as RFC 8259 §8.1 allows: PowerShell writes it. */
const BYTE_ORDER_MARK = 0xfeff;

/** What JSON allows between its values. */
const SPACE: ReadonlySet<number> = new Set([0x20, 0x09, 0x0a, 0x0d]);

function isId(value: unknown): value is RequestId {
  return typeof value === 'string' || (typeof value === 'number' && Number.isFinite(value));
}

/** What is wrong with a request or notification. */
function wrongCall(message: Json): string | undefined {
  const id = message['id'];
  const params = message['params'];
  if (typeof message['method'] !== 'string')
    return `a method that is ${nameOf(message['method'])}, not a string`;
  if (message['jsonrpc'] !== '2.0') return 'a message without `jsonrpc: "2.0"`';
  if (id !== undefined && !isId(id)) return `a request with an id that is ${nameOf(id)}`;
  if (params !== undefined && !isJson(params)) return `params that are ${nameOf(params)}, not an object`;
  if (message['result'] !== undefined || message['error'] !== undefined)
    return 'a message with a method and a result';
  return undefined;
}

function wrongResponse(message: Json): string | undefined {
  const id = message['id'];
  const { result, error } = message as { result?: unknown; error?: unknown };
  if (message['jsonrpc'] !== '2.0') return 'a message without `jsonrpc: "2.0"`';
  if (error === undefined) {
    if (result === undefined) return 'neither a method, a result nor an error';
    if (!isId(id)) return `a result with an id that is ${nameOf(id)}`;
    return isJson(result) ? undefined : `a result that is ${nameOf(result)}, not an object`;
  }
  if (result !== undefined) return 'both a result and an error';
  if (!isJson(error)) return `an error that is ${nameOf(error)}, not an object`;
  if (!Number.isInteger(error['code'])) return 'an error without an integer code';
  if (typeof error['message'] !== 'string') return 'an error without a message';
  // An error about a request whose id the server could not read has no id, or null.
  return id === undefined || id === null || isId(id)
    ? undefined
    : `an error with an id that is ${nameOf(id)}`;
}

function nameOf(value: unknown): string {
  if (value === null) return 'null';
  if (value === undefined) return 'missing';
  return Array.isArray(value) ? 'an array' : typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

/** Whether the text is an array of more members than `most`; looks no further than that. Text that is no JSON has none. */
function hasMoreMembers(text: string, most: number): boolean {
  let start = 0;
  while (SPACE.has(text.charCodeAt(start))) start += 1;
  // Each member takes a character and a comma.
  if (text[start] !== '[' || text.length < 2 * most) return false;
  let members = 1;
  for (let at = start + 1; at < text.length; at += 1) {
    const mark = text[at];
    if (mark === ']') return false;
    if (mark === '{' || mark === '[') at = endOfNest(text, at);
    else if (mark === '"') at = endOfString(text, at);
    else if (mark === ',' && (members += 1) > most) return true;
    if (at === -1) return false;
  }
  return false;
}

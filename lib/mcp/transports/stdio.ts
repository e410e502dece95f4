import { StringDecoder } from 'node:string_decoder';
import type { Clock } from '../../core/clock.ts';
import { TroupeError, errorText } from '../../core/errors.ts';
import type { RpcMessage } from '../../core/json-rpc.ts';
import type { Limits } from '../../core/limits.ts';
import type { LaunchedProcess } from '../process.ts';
import { giveBack, spareBytes } from '../spare-bytes.ts';
import type { Channel, ChannelReceiver } from '../wire/channel.ts';
import { createFrameReader } from '../wire/frames.ts';
import { inTurns, type TurnReader } from '../wire/in-turns.ts';
import { createInbound, type InboundOptions } from '../wire/inbound.ts';

export interface StdioChannelOptions {
  readonly process: LaunchedProcess;
  readonly limits: InboundOptions['limits'] & Pick<Limits, 'writeQueueBytes'>;
  readonly clock: Pick<Clock, 'now' | 'after'>;
  /** Configured name, for errors. */
  readonly server: string;
  /** Told once, when the first byte has come. */
  readonly onFirstByte?: (() => void) | undefined;
  /** Hears what the server writes to stderr, as text in pieces of any size. */
  readonly onStderr?: ((text: string) => void) | undefined;
  /** Told once, when `close` was called: now the process may be ended, within the same time. */
  readonly onClosing?: (() => void) | undefined;
}

/**
 * How long the rest of an ending is waited for, milliseconds: the exit status after a pipe has closed, or what is
 * still in the pipe after an exit. A grandchild may hold the pipe for ever.
 */
const LAST_WORDS_MS = 50;

/**
 * From this size on, characters, a message is written by itself and at once, through memory that is used again: the server
 * reads it while the next one is made, and most of what it costs is fresh memory.
 */
const LARGE_TEXT = 16_384;
/** Up to this size, since beyond it the memory would not be kept. One UTF-16 unit takes up to three bytes. */
const LARGEST_REUSED = 699_050;
const BYTES_PER_UNIT = 3;
/** Only while less than this waits to be written, bytes: what waits holds its memory, up to twelve times its length. */
const REUSED_WHILE_WAITING = 524_288;

/**
 * One JSON-RPC message per line over the pipes of a child process. The first message of a turn of the event loop is
 * written at once, later ones of the same turn are joined into one write: each write wakes the server (10 µs), so
 * joined ones share the wake-up (performance §1.2). The end of the process is seen by its exit, not by the end of its
 * pipes; a closed pipe of a process that lives on ends the channel too. Ending the process is up to its owner.
 */
export function createStdioChannel(options: StdioChannelOptions): Channel {
  return new StdioChannel(options);
}

class StdioChannel implements Channel {
  readonly kind = 'stdio';
  readonly streamPerRequest = false;
  readonly sessionId = undefined;
  readonly #options: StdioChannelOptions;
  readonly #process: LaunchedProcess;
  #inbound: TurnReader | undefined;
  #receiver: ChannelReceiver | undefined;
  /** Lines of this turn that wait to be written together. */
  #joined = '';
  #turnOpen = false;
  #stdoutOpen = true;
  /** Set once an end is in sight: what it looks like before the exit status is known. */
  #why: string | undefined;
  #disarm: (() => void) | undefined;
  #closing: Promise<void> | undefined;
  #over = false;
  readonly #ended: Promise<void>;
  #resolveEnded: () => void = () => {};

  constructor(options: StdioChannelOptions) {
    this.#options = options;
    this.#process = options.process;
    this.#ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
  }

  open(receiver: ChannelReceiver): Promise<void> {
    const { limits, clock, server, onFirstByte, onStderr } = this.#options;
    const { stdin, stdout, exited } = this.#process;
    this.#receiver = receiver;
    const inbound = (this.#inbound = inTurns(
      createInbound({ limits, now: () => clock.now(), receiver: this.#untilOver(receiver), server }),
    ));
    const frames = createFrameReader({
      maxBytes: limits.messageBytes,
      onFrame: (frame) => inbound.read(frame),
      onTooLong: (head, bytes, tail) => inbound.readTooLong(head, bytes, tail),
    });
    if (onStderr !== undefined) {
      const decoder = new StringDecoder();
      this.#process.listenToStderr((chunk) => {
        try {
          onStderr(decoder.write(chunk));
        } catch (error) {
          receiver.onOddity(
            new TroupeError('internal', 'the listener of stderr threw', { server, cause: error }),
          );
        }
      });
    }
    if (onFirstByte !== undefined) stdout.once('data', onFirstByte);
    stdout.on('data', (chunk: Buffer) => frames.push(chunk));
    stdout.once('close', () => {
      frames.end();
      this.#stdoutOpen = false;
      this.#ending('it closed its stdout');
    });
    stdin.once('error', (error) => this.#ending(`it reads its stdin no longer (${errorText(error)})`));
    void exited.then(() => this.#ending('it exited'));
    return Promise.resolve();
  }

  send(message: RpcMessage): void {
    this.#write(`${this.#text(message)}\n`);
  }

  sendBatch(messages: readonly RpcMessage[]): void {
    if (messages.length > 0) this.#write(messages.map((message) => `${this.#text(message)}\n`).join(''));
  }

  forget(): void {
    // A pipe keeps nothing per request; late answers find nobody.
  }

  setProtocolVersion(): void {
    // Said in the messages themselves.
  }

  close(graceMs: number): Promise<void> {
    this.#closing ??= this.#close(graceMs);
    return this.#closing;
  }

  async #close(graceMs: number): Promise<void> {
    if (this.#over) return;
    this.#flush();
    this.#why ??= 'the connection was closed';
    this.#process.endInput();
    this.#options.onClosing?.();
    const disarm = this.#options.clock.after(Math.max(0, graceMs), () => this.#end());
    await this.#ended;
    disarm();
  }

  #text(message: RpcMessage): string {
    try {
      return JSON.stringify(message);
    } catch (error) {
      throw this.#refused(
        'invalid_request',
        `the message cannot be written as JSON: ${errorText(error)}`,
        error,
      );
    }
  }

  #write(text: string): void {
    const { stdin } = this.#process;
    if (this.#why !== undefined || !stdin.writable) {
      throw this.#refused('connection_lost', this.#why ?? 'the pipe to the server is gone');
    }
    const limit = this.#options.limits.writeQueueBytes;
    // Counted in UTF-16 units, as the stream itself counts text. A single message is taken whatever its size.
    const waiting = stdin.writableLength + this.#joined.length;
    if (waiting > 0 && waiting + text.length > limit) {
      throw this.#refused(
        'queue_full',
        `the server does not read: ${waiting} bytes wait to be written (limit \`writeQueueBytes\` ${limit})`,
      );
    }
    if (this.#turnOpen && text.length < LARGE_TEXT) {
      this.#joined += text;
      return;
    }
    if (this.#turnOpen) this.#writeJoined();
    else {
      this.#turnOpen = true;
      setImmediate(this.#flush);
    }
    const reuses =
      text.length >= LARGE_TEXT && text.length <= LARGEST_REUSED && waiting < REUSED_WHILE_WAITING;
    if (reuses) this.#writeReused(text);
    else stdin.write(text);
  }

  #writeReused(text: string): void {
    const bytes = spareBytes(text.length * BYTES_PER_UNIT);
    this.#process.stdin.write(bytes.subarray(0, bytes.write(text)), () => giveBack(bytes));
  }

  readonly #flush = (): void => {
    this.#turnOpen = false;
    this.#writeJoined();
  };

  #writeJoined(): void {
    if (this.#joined === '') return;
    const text = this.#joined;
    this.#joined = '';
    if (this.#process.stdin.writable) this.#process.stdin.write(text);
  }

  /** The beginning of the end: waits, but not long, until all of it is known. */
  #ending(why: string): void {
    if (this.#over) return;
    this.#why ??= why;
    // The timer may be due before the pipe was read, when the host was busy: read first, then end.
    this.#disarm ??= this.#options.clock.after(LAST_WORDS_MS, () =>
      setImmediate(() => this.#endAfterReading()),
    );
    // Once more around the loop, for what is left in the pipe of stderr.
    if (!this.#stdoutOpen && this.#process.exit !== undefined) setImmediate(() => this.#endAfterReading());
  }

  #endAfterReading(): void {
    if (this.#inbound === undefined) this.#end();
    else this.#inbound.afterwards(() => this.#end());
  }

  #end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#disarm?.();
    const { stdout } = this.#process;
    // Read on into the void: a server in its last steps must not trip over a closed pipe.
    stdout.removeAllListeners('data');
    stdout.resume();
    this.#process.listenToStderr(undefined);
    this.#joined = '';
    this.#resolveEnded();
    this.#receiver?.onClose(this.#cause());
    this.#receiver = undefined;
  }

  /** Names the exit, and the last lines of stderr: mostly they say why. */
  #cause(): TroupeError {
    const { exit } = this.#process;
    const how =
      exit === undefined
        ? ''
        : exit.signal === null
          ? `the server process exited with code ${exit.code ?? 'unknown'}`
          : `the server process was ended by ${exit.signal}`;
    const seen = this.#closing === undefined ? how : '';
    const what = seen === '' ? (this.#why ?? 'the connection was closed') : seen;
    const stderr = this.#process.stderrTail().trimEnd();
    const lines = stderr.split('\n').slice(-LAST_LINES).join(' | ').slice(-LAST_LINES_TEXT);
    return new TroupeError(
      'connection_lost',
      lines === '' || this.#closing !== undefined ? what : `${what}; stderr: ${lines}`,
      {
        server: this.#options.server,
        delivery: 'sent',
        data: { code: exit?.code ?? null, signal: exit?.signal ?? null, stderr: fitting(stderr) },
      },
    );
  }

  #refused(
    code: 'connection_lost' | 'queue_full' | 'invalid_request',
    detail: string,
    cause?: unknown,
  ): TroupeError {
    return new TroupeError(code, detail, { server: this.#options.server, delivery: 'unsent', cause });
  }

  /** Nothing is reported after `onClose`. */
  #untilOver(receiver: ChannelReceiver): ChannelReceiver {
    return {
      onMessage: (message) => {
        if (!this.#over) receiver.onMessage(message);
      },
      onUnanswered: (id, error) => {
        if (!this.#over) receiver.onUnanswered(id, error);
      },
      onOddity: (error) => {
        if (!this.#over) receiver.onOddity(error);
      },
      onClose: () => {},
    };
  }
}

/** What of stderr stands in the message of an error. */
const LAST_LINES = 3;
const LAST_LINES_TEXT = 500;
/** An error keeps 16 KB of data as JSON, in which one control character may take six. */
const MAX_STDERR_JSON = 15_000;
const MAX_STDERR_WORST = MAX_STDERR_JSON / 6;

function fitting(stderr: string): string {
  return JSON.stringify(stderr).length <= MAX_STDERR_JSON ? stderr : stderr.slice(-MAX_STDERR_WORST);
}

import type { Clock } from '../../core/clock.ts';
import { TroupeError } from '../../core/errors.ts';
import type { RpcMessage } from '../../core/json-rpc.ts';
import type { Limits } from '../../core/limits.ts';
import type { LaunchedProcess, ProcessExit } from '../process.ts';
import type { Channel, ChannelReceiver } from '../wire/channel.ts';
import { createFrameReader } from '../wire/frames.ts';
import { createInbound } from '../wire/inbound.ts';

export interface StdioChannelOptions {
  readonly process: LaunchedProcess;
  readonly limits: Limits;
  readonly clock: Clock;
  /** Configured name, for errors. */
  readonly server: string;
  /** Told once, when the first byte has come. */
  readonly onFirstByte?: (() => void) | undefined;
}

/** How long after a process's end its last words are waited for, milliseconds; a grandchild may hold the pipe for ever. */
const LAST_WORDS_MS = 50;

/**
 * One JSON-RPC message per line over the pipes of a child process. The first message of a turn of the event loop is
 * written at once, later ones of the same turn are joined into one write: each write wakes the server (10 µs), so
 * joined ones share the wake-up (performance §1.2).
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
  #receiver: ChannelReceiver | undefined;
  /** Lines of this turn that wait to be written together. */
  #joined: string[] = [];
  #joinedBytes = 0;
  #turnOpen = false;
  #over = false;

  constructor(options: StdioChannelOptions) {
    this.#options = options;
    this.#process = options.process;
  }

  open(receiver: ChannelReceiver): Promise<void> {
    const { limits, clock, server, onFirstByte } = this.#options;
    const { stdin, stdout, exited } = this.#process;
    this.#receiver = receiver;
    const guarded: ChannelReceiver = {
      onMessage: (message) => this.#over || receiver.onMessage(message),
      onUnanswered: (id, error) => this.#over || receiver.onUnanswered(id, error),
      onOddity: (error) => this.#over || receiver.onOddity(error),
      onClose: () => {},
    };
    const inbound = createInbound({ limits, now: () => clock.now(), receiver: guarded, server });
    const frames = createFrameReader({
      maxBytes: limits.messageBytes,
      onFrame: (frame) => inbound.read(frame),
      onTooLong: (head, bytes, tail) => inbound.readTooLong(head, bytes, tail),
    });
    if (onFirstByte !== undefined) stdout.once('data', onFirstByte);
    stdout.on('data', (chunk: Buffer) => frames.push(chunk));
    stdout.on('error', () => {});
    stdout.once('end', () => {
      frames.end();
      // The process may be about to exit: then its exit is the better cause.
      const disarm = clock.after(LAST_WORDS_MS, () => this.#end(this.#lost('it closed its stdout')));
      void exited.then((exit) => {
        disarm();
        this.#end(this.#exited(exit));
      });
    });
    stdin.on('error', (error) => {
      const disarm = clock.after(LAST_WORDS_MS, () => this.#end(this.#lost(`its stdin is gone (${error.message})`)));
      void exited.then(disarm);
    });
    void exited.then((exit) => {
      if (stdout.readableEnded || stdout.destroyed) this.#end(this.#exited(exit));
      else clock.after(LAST_WORDS_MS, () => this.#end(this.#exited(exit)));
    });
    return Promise.resolve();
  }

  send(message: RpcMessage): void {
    this.#write(`${JSON.stringify(message)}\n`);
  }

  sendBatch(messages: readonly RpcMessage[]): void {
    this.#write(messages.map((message) => `${JSON.stringify(message)}\n`).join(''));
  }

  forget(): void {
    // A pipe keeps nothing per request; late answers find nobody.
  }

  setProtocolVersion(): void {
    // Said in the messages themselves.
  }

  close(): Promise<void> {
    if (!this.#over) {
      this.#flush();
      if (this.#process.stdin.writable) this.#process.stdin.end();
      this.#end(new TroupeError('stopped', 'the connection was ended', { server: this.#options.server }));
    }
    return Promise.resolve();
  }

  #write(text: string): void {
    const { limits, server } = this.#options;
    const { stdin } = this.#process;
    if (this.#over || !stdin.writable) {
      throw new TroupeError('connection_lost', 'the pipe to the server is gone', { server });
    }
    if (text.length > limits.messageBytes) {
      throw new TroupeError('limit_exceeded', `the request has ${text.length} characters; at most ${limits.messageBytes} bytes are sent`, { server });
    }
    const waiting = stdin.writableLength + this.#joinedBytes;
    if (waiting > 0 && waiting + text.length > limits.writeQueueBytes) {
      throw new TroupeError('queue_full', `the server does not read: ${waiting} bytes wait to be written`, { server });
    }
    if (this.#turnOpen) {
      this.#joined.push(text);
      this.#joinedBytes += text.length;
      return;
    }
    stdin.write(text);
    this.#turnOpen = true;
    setImmediate(this.#flush);
  }

  readonly #flush = (): void => {
    this.#turnOpen = false;
    if (this.#joined.length === 0) return;
    const text = this.#joined.length === 1 ? (this.#joined[0] ?? '') : this.#joined.join('');
    this.#joined = [];
    this.#joinedBytes = 0;
    if (this.#process.stdin.writable) this.#process.stdin.write(text);
  };

  #end(cause: TroupeError): void {
    if (this.#over) return;
    this.#over = true;
    this.#process.stdout.destroy();
    this.#receiver?.onClose(cause);
  }

  #exited({ code, signal }: ProcessExit): TroupeError {
    const how = signal === null ? `exited with code ${code}` : `was ended by ${signal}`;
    return this.#lost(`the server process ${how}`, { code, signal });
  }

  #lost(what: string, exit?: ProcessExit): TroupeError {
    const stderr = this.#process.stderrTail();
    const lines = stderr.split('\n').slice(-LAST_LINES).join(' | ').slice(-LAST_LINES_TEXT);
    return new TroupeError('connection_lost', lines === '' ? what : `${what}; stderr: ${lines}`, {
      server: this.#options.server,
      delivery: 'sent',
      data: { code: exit?.code ?? null, signal: exit?.signal ?? null, stderr: stderr.slice(-MAX_STDERR_DATA) },
    });
  }
}

/** What of stderr stands in the message of an error, and what in its data. */
const LAST_LINES = 3;
const LAST_LINES_TEXT = 500;
const MAX_STDERR_DATA = 8_000;

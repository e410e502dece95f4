import { TroupeError, isTroupeError } from '../../core/errors.ts';
import type { RequestId, RpcMessage } from '../../core/json-rpc.ts';
import type { Channel, ChannelKind, ChannelReceiver, SendOptions } from '../wire/channel.ts';
import { createSseChannel } from './sse.ts';
import { createStreamableHttpChannel, type HttpChannelOptions } from './streamable-http.ts';

/** What an HTTP+SSE server answers to the POST of a protocol it does not know (2025-11-25, transports: backwards compatibility). */
const NOT_STREAMABLE: ReadonlySet<number> = new Set([400, 404, 405]);

/**
 * An HTTP URL of which nobody said how it is spoken to: Streamable HTTP first; when the server refuses `initialize`
 * in a way that says "not here", HTTP+SSE on the same URL, where that message is sent again (it was refused, so it ran
 * nowhere). `kind` tells which one is in use. A refused `server/discover` is only reported: negotiation goes on with
 * `initialize`.
 */
export function createAutoHttpChannel(options: HttpChannelOptions): Channel {
  return new AutoHttpChannel(options);
}

class AutoHttpChannel implements Channel {
  readonly #options: HttpChannelOptions;
  #channel: Channel;
  #receiver: ChannelReceiver | undefined;
  /** Which one is in use is decided: something was accepted, or it has switched. */
  #decided = false;
  #switching = false;
  #version: string | undefined;
  #closing: Promise<void> | undefined;
  #told = false;

  constructor(options: HttpChannelOptions) {
    this.#options = options;
    this.#channel = createStreamableHttpChannel(options);
  }

  get kind(): ChannelKind {
    return this.#channel.kind;
  }

  get streamPerRequest(): boolean {
    return this.#channel.streamPerRequest;
  }

  get sessionId(): string | undefined {
    return this.#channel.sessionId;
  }

  open(receiver: ChannelReceiver): Promise<void> {
    this.#receiver = receiver;
    return this.#channel.open(this.#relay(this.#channel));
  }

  send(message: RpcMessage, options?: SendOptions): void | Promise<void> {
    if (this.#decided) return this.#channel.send(message, options);
    return this.#sendUndecided(message, options);
  }

  sendBatch(messages: readonly RpcMessage[], options?: SendOptions): void | Promise<void> {
    if (this.#channel.sendBatch !== undefined) return this.#channel.sendBatch(messages, options);
    return this.#sendEach(messages, options);
  }

  forget(id: RequestId): void {
    this.#channel.forget(id);
  }

  setProtocolVersion(version: string): void {
    this.#version = version;
    this.#channel.setProtocolVersion(version);
  }

  close(graceMs: number): Promise<void> {
    this.#closing ??= this.#close(graceMs);
    return this.#closing;
  }

  async #close(graceMs: number): Promise<void> {
    const channel = this.#channel;
    await channel.close(graceMs);
    // A switch that was under way has put another one in its place.
    if (this.#channel !== channel) await this.#channel.close(graceMs);
    const { server } = this.#options;
    this.#tellClosed(
      new TroupeError('connection_lost', 'the connection was closed', { server, delivery: 'sent' }),
    );
  }

  async #sendUndecided(message: RpcMessage, options: SendOptions | undefined): Promise<void> {
    try {
      await this.#channel.send(message, options);
      this.#decided = true;
    } catch (error) {
      const initialize = 'method' in message && message.method === 'initialize';
      if (
        !initialize ||
        this.#decided ||
        this.#switching ||
        this.#closing !== undefined ||
        !notStreamable(error)
      )
        throw error;
      await this.#switch(error);
      await this.#channel.send(message, options);
    }
  }

  async #switch(refusal: TroupeError): Promise<void> {
    const sse = createSseChannel(this.#options);
    const first = this.#channel;
    this.#switching = true;
    this.#channel = sse;
    try {
      await sse.open(this.#relay(sse));
    } catch (error) {
      // It speaks neither: the first refusal is what a person needs to see, with the second attempt beside it.
      this.#channel = first;
      throw refusal.with({ cause: error });
    } finally {
      this.#switching = false;
    }
    this.#decided = true;
    if (this.#version !== undefined) sse.setProtocolVersion(this.#version);
    await first.close(0);
  }

  /** Only the channel in use is heard. */
  #relay(channel: Channel): ChannelReceiver {
    const receiver = (): ChannelReceiver | undefined =>
      this.#channel === channel && !this.#told ? this.#receiver : undefined;
    return {
      onMessage: (message) => receiver()?.onMessage(message),
      onUnanswered: (id, error) => receiver()?.onUnanswered(id, error),
      onOddity: (error) => receiver()?.onOddity(error),
      onGap: () => receiver()?.onGap?.(),
      onClose: (error) => {
        // While it opens, its failure is told to whoever waits for the switch.
        if (this.#channel === channel && !this.#switching) this.#tellClosed(error);
      },
    };
  }

  #tellClosed(error: TroupeError): void {
    if (this.#told) return;
    this.#told = true;
    this.#receiver?.onClose(error);
  }

  async #sendEach(messages: readonly RpcMessage[], options: SendOptions | undefined): Promise<void> {
    for (const message of messages) {
      const id = 'id' in message && 'method' in message ? message.id : undefined;
      try {
        await this.#channel.send(message, options);
      } catch (error) {
        const { server } = this.#options;
        if (id === undefined) throw error;
        this.#receiver?.onUnanswered(id, TroupeError.from(error, { server }));
      }
    }
  }
}

function notStreamable(error: unknown): error is TroupeError {
  if (!isTroupeError(error) || error.code !== 'protocol_error') return false;
  const status = (error.data as { status?: unknown } | undefined)?.status;
  return typeof status === 'number' && NOT_STREAMABLE.has(status);
}

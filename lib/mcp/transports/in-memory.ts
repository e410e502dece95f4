/* oxlint-disable unicorn/prefer-add-event-listener -- a transport of the SDK has callback properties, no listeners */
import type { McpServerFactory } from '@modelcontextprotocol/server';
import type { StdioServerHandle } from '@modelcontextprotocol/server/stdio';
import type { Clock } from '../../core/clock.ts';
import { TroupeError, errorText, isTroupeError } from '../../core/errors.ts';
import type { ErrorCode, ErrorFacts } from '../../core/errors.ts';
import type { RpcMessage } from '../../core/json-rpc.ts';
import { fromSdk } from '../errors.ts';
import type { Channel, ChannelReceiver } from '../wire/channel.ts';
import { createMemoryPair } from './memory-pair.ts';
import { faultOf } from './parsed-message.ts';
import type { SdkTransport } from './sdk-transport.ts';
import { endsWithin } from './within.ts';

/** What the factory is told, as by the SDK's own entries. One that takes no parameter may be called before it is known. */
interface ServerContext {
  readonly era: 'legacy' | 'modern';
}

export interface InMemoryChannelOptions {
  /**
   * Makes the server: `McpServer` or `Server` of `@modelcontextprotocol/server` (both eras), or of SDK 1 (legacy). A
   * new one per call: it is called once per connection, and once more when a client that has asked for the modern era
   * goes on in the legacy one.
   */
  readonly factory: (context: ServerContext) => unknown;
  readonly clock: Clock;
  /** Configured name, for errors. */
  readonly server: string;
  /** How long the factory may take, milliseconds. Default 10 000 (reliability §8, connect). */
  readonly startTimeoutMs?: number | undefined;
}

const DEFAULT_START_TIMEOUT_MS = 10_000;

/**
 * A server in this process. Messages are handed over by reference and never serialised, so a server that keeps and
 * changes what it returned changes it for the client too; they arrive asynchronously, in order, each once. There are
 * no limits on size or rate: the server's code is the host's own.
 */
export function createInMemoryChannel(options: InMemoryChannelOptions): Channel {
  return new InMemoryChannel(options);
}

class InMemoryChannel implements Channel {
  readonly kind = 'in-memory';
  readonly streamPerRequest = false;
  readonly sessionId = undefined;
  readonly #options: InMemoryChannelOptions;
  readonly #server: string;
  #receiver: ChannelReceiver | undefined;
  #end: SdkTransport | undefined;
  #stop: (() => Promise<void>) | undefined;
  #failOpening: ((error: TroupeError) => void) | undefined;
  #opened = false;
  #over = false;
  #cause: TroupeError | undefined;
  #closing: Promise<void> | undefined;
  #ended: (() => void) | undefined;

  constructor(options: InMemoryChannelOptions) {
    this.#options = options;
    this.#server = options.server;
  }

  async open(receiver: ChannelReceiver): Promise<void> {
    if (this.#over || this.#closing !== undefined) throw this.#closedByUs('unsent');
    this.#receiver = receiver;
    const timeoutMs = this.#options.startTimeoutMs ?? DEFAULT_START_TIMEOUT_MS;
    const given = new Promise<never>((_resolve, reject) => {
      this.#failOpening = reject;
    });
    const disarm = this.#options.clock.after(timeoutMs, () => {
      this.#failOpening?.(
        this.#error('unavailable', `\`server\` did not return a server within ${timeoutMs} ms`),
      );
    });
    try {
      await Promise.race([this.#start(), given]);
    } catch (error) {
      this.#over = true;
      void this.#stop?.().catch(() => {});
      throw this.#startFault(error);
    } finally {
      this.#failOpening = undefined;
      disarm();
    }
  }

  async #start(): Promise<void> {
    const product = await this.#build({ era: 'modern' });
    const { serveStdio } = await import('@modelcontextprotocol/server/stdio');
    if (this.#over) return discard(product.whole);
    const [client, server] = createMemoryPair();
    this.#end = client;
    client.onmessage = (message) => this.#receive(message);
    client.onerror = (error) => this.#receiver?.onOddity(fromSdk(error, { server: this.#server }));
    client.onclose = () => {
      this.#finish(
        this.#error('connection_lost', 'the server in this process closed the connection', {
          delivery: 'sent',
        }),
      );
    };
    if (product.dualEra) this.#stop = this.#serve(serveStdio, product, server);
    else {
      const { whole } = product;
      this.#stop = async () => {
        await whole.close?.();
        await server.close();
      };
      await whole.connect(server);
    }
    if (this.#over) return;
    this.#opened = true;
    await client.start();
  }

  /** The SDK's entry decides the era and makes one instance for it; the first one is ours already. */
  #serve(
    serveStdio: (factory: McpServerFactory, options: object) => StdioServerHandle,
    first: Product,
    transport: SdkTransport,
  ): () => Promise<void> {
    let unused: Product | undefined = first;
    const next = async (context: ServerContext): Promise<unknown> => {
      const kept = unused;
      unused = undefined;
      // A factory that looks at the era must have seen the right one.
      if (kept !== undefined && (context.era === 'modern' || this.#options.factory.length === 0))
        return kept.instance;
      try {
        return (await this.#build(context)).instance;
      } catch (error) {
        const fault = this.#startFault(error);
        this.#finish(fault.with({ delivery: 'sent' }));
        throw fault;
      }
    };
    const handle = serveStdio(next as unknown as McpServerFactory, {
      transport,
      onerror: (error: Error) => {
        if (!this.#over) this.#receiver?.onOddity(fromSdk(error, { server: this.#server }));
      },
    });
    return () => handle.close();
  }

  async #build(context: ServerContext): Promise<Product> {
    const whole: unknown = await this.#options.factory(context);
    const product = productOf(whole);
    if (product === undefined) {
      throw this.#error(
        'config_invalid',
        '`server` must return an McpServer or Server of the MCP SDK (or a promise of one)',
      );
    }
    if (product.instance.transport !== undefined) {
      throw this.#error(
        'config_invalid',
        '`server` returned a server that is already connected; one serves one connection, so return a new one per call: `server: () => buildMyServer()`',
      );
    }
    return product;
  }

  #startFault(error: unknown): TroupeError {
    if (isTroupeError(error))
      return error.server === undefined ? error.with({ server: this.#server }) : error;
    return this.#error('unavailable', `\`server\` failed: ${errorText(error)}`, { cause: error });
  }

  #receive(message: RpcMessage): void {
    if (this.#over) return;
    const fault = faultOf(message);
    if (fault === undefined) {
      this.#receiver?.onMessage(message);
      return;
    }
    const error = this.#error('invalid_response', `the server sent ${fault.text}`, { delivery: 'answered' });
    if (fault.id === undefined) this.#receiver?.onOddity(error);
    else this.#receiver?.onUnanswered(fault.id, error);
  }

  send(message: RpcMessage): void {
    if (this.#over || !this.#opened || this.#cause !== undefined || this.#end === undefined) {
      throw this.#error('connection_lost', 'the connection to the server in this process is not open', {
        delivery: 'unsent',
      });
    }
    this.#end.send(message).catch(ignore);
  }

  forget(): void {}

  setProtocolVersion(): void {}

  close(graceMs: number): Promise<void> {
    this.#closing ??= this.#shutDown(graceMs);
    return this.#closing;
  }

  async #shutDown(graceMs: number): Promise<void> {
    if (this.#over) return;
    if (!this.#opened) {
      this.#over = true;
      this.#failOpening?.(this.#closedByUs('unsent'));
      return;
    }
    const cause = this.#closedByUs('sent');
    this.#cause = cause;
    const ended = new Promise<void>((resolve) => {
      this.#ended = resolve;
    });
    // What the server says last, the end of its subscriptions for example, arrives before the end.
    await endsWithin(this.#options.clock, graceMs, Promise.all([this.#stop?.(), ended]));
    this.#finish(cause);
  }

  #finish(cause: TroupeError): void {
    if (this.#over) return;
    this.#over = true;
    this.#closing ??= Promise.resolve();
    this.#receiver?.onClose(this.#cause ?? cause);
    this.#ended?.();
    void this.#end?.close();
  }

  #closedByUs(delivery: 'unsent' | 'sent'): TroupeError {
    return this.#error('connection_lost', 'the connection was closed', { delivery });
  }

  #error(code: ErrorCode, detail: string, facts: ErrorFacts = {}): TroupeError {
    return new TroupeError(code, detail, { ...facts, server: this.#server });
  }
}

/** What is used of a server; by shape, since the host may have loaded the SDK from elsewhere, or another version. */
interface ServerLike {
  connect(transport: SdkTransport): Promise<void>;
  close?: () => Promise<void>;
  readonly transport?: unknown;
}

interface Product {
  readonly whole: ServerLike;
  /** The low-level server inside: the SDK's entry knows an `McpServer` of another copy of the package by nothing. */
  readonly instance: ServerLike;
  /** SDK 2: serves either era. */
  readonly dualEra: boolean;
}

function productOf(whole: unknown): Product | undefined {
  if (!isServer(whole)) return undefined;
  const { server } = whole as { server?: unknown };
  const instance = isServer(server) ? server : whole;
  return {
    whole,
    instance,
    dualEra: has(instance, 'setRequestHandler') && has(instance, 'getNegotiatedProtocolVersion'),
  };
}

function isServer(value: unknown): value is ServerLike {
  return typeof value === 'object' && value !== null && has(value, 'connect');
}

function has(value: object, method: string): boolean {
  return typeof (value as Record<string, unknown>)[method] === 'function';
}

async function discard(server: ServerLike): Promise<void> {
  try {
    await server.close?.();
  } catch {
    // It was never used.
  }
}

function ignore(): void {}

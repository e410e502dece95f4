import {
  createServer,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { createClock, type Clock } from '../../lib/core/clock.ts';
import type { Json, RequestId } from '../../lib/core/json-rpc.ts';
import type { Limits } from '../../lib/core/limits.ts';
import type { Channel } from '../../lib/mcp/wire/channel.ts';
import type { HttpChannelOptions } from '../../lib/mcp/transports/streamable-http.ts';
import { createRecordingReceiver, type RecordingReceiver } from './recording-receiver.ts';
import { createVirtualClock, type VirtualClock } from './virtual-clock.ts';

/** A request as the server saw it. */
export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** Parsed body; undefined without one. */
  readonly body: SeenBody | undefined;
  readonly at: number;
}

interface SeenBody {
  readonly id?: RequestId;
  readonly method?: string;
  readonly params?: Json;
  readonly [key: string]: unknown;
}

export type Script = (seen: Seen, response: ServerResponse) => void;

export interface HttpFixture {
  readonly url: URL;
  readonly seen: Seen[];
  /** Requests whose response the client has neither received whole nor given up. */
  readonly open: number;
  readonly sockets: number;
  of(method: string, rpc?: string): Seen[];
  script(script: Script): void;
  /** Cuts every socket. */
  reset(): void;
  /** Resolves once `holds`; asked after each request, response end and socket close. */
  until(holds: () => boolean): Promise<void>;
  close(): Promise<void>;
}

/** A real HTTP server on loopback that does what a spec says. */
export async function createHttpFixture(script: Script): Promise<HttpFixture> {
  const seen: Seen[] = [];
  const sockets = new Set<Socket>();
  const waits = new Set<() => void>();
  let act = script;
  let open = 0;
  const happened = (): void => {
    for (const check of waits) check();
  };
  const server = createServer((request, response) => {
    open += 1;
    response.on('close', () => {
      open -= 1;
      happened();
    });
    response.on('error', () => {});
    const chunks: Buffer[] = [];
    request.on('error', () => {});
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString();
      const body = text === '' ? undefined : (JSON.parse(text) as SeenBody);
      const { method = '', url = '', headers } = request;
      const entry = { method, path: url, headers, body, at: performance.now() };
      seen.push(entry);
      act(entry, response);
      happened();
    });
  });
  server.keepAliveTimeout = 60_000;
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => {
      sockets.delete(socket);
      happened();
    });
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: new URL(`http://127.0.0.1:${port}/mcp`),
    seen,
    get open() {
      return open;
    },
    get sockets() {
      return sockets.size;
    },
    of: (method, rpc) =>
      seen.filter((s) => s.method === method && (rpc === undefined || s.body?.method === rpc)),
    script: (next) => {
      act = next;
    },
    reset: () => {
      for (const socket of sockets) socket.destroy();
    },
    until: (holds) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          waits.delete(check);
          reject(
            new Error(
              `not seen within 10 s; the server has seen ${seen.map((s) => `${s.method} ${s.body?.method ?? ''}`).join(', ')}`,
            ),
          );
        }, 10_000);
        const check = (): void => {
          if (!holds()) return;
          waits.delete(check);
          clearTimeout(timer);
          resolve();
        };
        waits.add(check);
        check();
      }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

// ── what servers answer ──────────────────────────────────────────────────────────────────────────────────────────────

export function result(seen: Seen, value: Json = {}): Json {
  return { jsonrpc: '2.0', id: seen.body?.id, result: value };
}

export function json(
  response: ServerResponse,
  message: unknown,
  status = 200,
  headers: OutgoingHttpHeaders = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(message));
}

export function text(
  response: ServerResponse,
  status: number,
  body = '',
  headers: OutgoingHttpHeaders = {},
): void {
  response.writeHead(status, { 'content-type': 'text/plain', ...headers }).end(body);
}

export function stream(response: ServerResponse, headers: OutgoingHttpHeaders = {}): ServerResponse {
  response.writeHead(200, { 'content-type': 'text/event-stream', ...headers }).flushHeaders();
  return response;
}

export function event(
  response: ServerResponse,
  message: unknown,
  fields: { id?: string; retry?: number } = {},
): void {
  const id = fields.id === undefined ? '' : `id: ${fields.id}\n`;
  const retry = fields.retry === undefined ? '' : `retry: ${fields.retry}\n`;
  response.write(`${id}${retry}event: message\ndata: ${message === '' ? '' : JSON.stringify(message)}\n\n`);
}

/** A legacy server with sessions: handshake and no GET stream; every other request goes to `rest`. */
export function legacy(rest: Script, session: string | null = 'session-1'): Script {
  return (seen, response) => {
    if (seen.body?.method === 'initialize') {
      json(
        response,
        result(seen, { protocolVersion: '2025-11-25' }),
        200,
        session === null ? {} : { 'mcp-session-id': session },
      );
    } else if (seen.body?.method === 'notifications/initialized') text(response, 202);
    else rest(seen, response);
  };
}

/** For a GET or DELETE that the spec at hand does not care about. */
export function notOffered(seen: Seen, response: ServerResponse): boolean {
  if (seen.method === 'POST') return false;
  text(response, 405);
  return true;
}

// ── channels ─────────────────────────────────────────────────────────────────────────────────────────────────────────

export function limits(change: Partial<Limits> = {}): Limits {
  return {
    messageBytes: 1_048_576,
    depth: 100,
    headerBytes: 16_384,
    writeQueueBytes: 4_194_304,
    notificationsPerSecond: 200,
    notificationBurst: 1_000,
    requestIdleMs: 30_000,
    listenIdleMs: 30_000,
    stderrTailBytes: 65_536,
    serverRequestsAtOnce: 4,
    serverRequestsPerMinute: 30,
    listPages: 64,
    listItems: 10_000,
    listBytes: 33_554_432,
    schemaBytes: 262_144,
    schemaDepth: 32,
    schemaRefs: 256,
    inputRounds: 10,
    ...change,
  };
}

export interface ChannelChange extends Partial<Omit<HttpChannelOptions, 'limits'>> {
  readonly limits?: Partial<Limits>;
  readonly clock?: Clock;
}

export interface OpenChannel {
  readonly channel: Channel;
  readonly receiver: RecordingReceiver;
}

export function optionsFor(url: URL, change: ChannelChange = {}): HttpChannelOptions {
  return {
    clock: createClock(),
    random: () => 0.5,
    server: 'alpha',
    url,
    ...change,
    limits: limits(change.limits),
  };
}

export async function openChannel(
  create: (options: HttpChannelOptions) => Channel,
  url: URL,
  change: ChannelChange = {},
): Promise<OpenChannel> {
  const channel = create(optionsFor(url, change));
  const receiver = createRecordingReceiver();
  await channel.open(receiver);
  return { channel, receiver };
}

export function request(id: RequestId, method = 'tools/call', params: Json = { name: 'echo' }) {
  return { jsonrpc: '2.0' as const, id, method, params };
}

export const INITIALIZE = request('init', 'initialize', {
  protocolVersion: '2025-11-25',
  capabilities: {},
  clientInfo: { name: 'spec', version: '1' },
});

export const INITIALIZED = { jsonrpc: '2.0' as const, method: 'notifications/initialized' };

/** `params` of a request of the modern era. */
export function modern(params: Json = {}): Json {
  return { ...params, _meta: { 'io.modelcontextprotocol/protocolVersion': '2026-07-28' } };
}

/** The handshake of the legacy era. */
export async function handshake({ channel, receiver }: OpenChannel, version = '2025-11-25'): Promise<void> {
  await channel.send(INITIALIZE);
  await receiver.until(() => receiver.messages.length === 1);
  receiver.messages.length = 0;
  channel.setProtocolVersion(version);
  await channel.send(INITIALIZED);
}

/** Virtual time that shows when somebody plans to do something later, as reconnecting does; limits on silence are not meant. */
export interface PlanClock extends VirtualClock {
  /** Resolves with the delay of the next plan, or of the oldest not asked for yet. */
  plan(): Promise<number>;
  /** Resolves once nothing is armed. */
  idle(): Promise<void>;
}

export function createPlanClock(): PlanClock {
  const clock = createVirtualClock();
  const plans: number[] = [];
  let told: (() => void) | undefined;
  const polled = async (holds: () => boolean, what: string): Promise<void> => {
    for (let turn = 0; turn < 1_500; turn += 1) {
      if (holds()) return;
      await new Promise<void>((resolve) => void setTimeout(resolve, 5));
    }
    throw new Error(`${what}; armed: ${clock.armed}`);
  };
  return Object.assign(Object.create(clock) as VirtualClock, {
    after: (ms: number, fn: () => void) => {
      plans.push(ms);
      told?.();
      return clock.after(ms, fn);
    },
    plan: async () => {
      if (plans.length === 0) {
        await new Promise<void>((resolve) => {
          told = resolve;
        });
      }
      return plans.shift() as number;
    },
    idle: () => polled(() => clock.armed === 0, 'something stays armed'),
  });
}

/** The rejection of a promise. */
export async function failure(promise: void | Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error('it was expected to fail');
}

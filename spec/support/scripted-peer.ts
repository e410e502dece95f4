/* oxlint-disable unicorn/prefer-add-event-listener -- a transport of the SDK has callback properties, no listeners */
import type { Json, RequestId, RpcMessage, RpcNotification, RpcRequest } from '../../lib/core/json-rpc.ts';
import { createMemoryPair } from '../../lib/mcp/transports/memory-pair.ts';
import type { SdkTransport } from '../../lib/mcp/transports/sdk-transport.ts';

/**
 * A server that says what the spec tells it to:
 *
 *     const peer = createScriptedPeer({ tools: ['echo'] });
 *     const engine = createEngine({ servers: { s: { transport: () => peer.transport } } });
 *     const call = engine.callTool('echo', {});
 *     await peer.expectRequest('tools/call').reply({ content: [] });
 *
 * Handshake, `ping`, lists and `subscriptions/listen` are answered by themselves. A request goes to the oldest
 * expectation that fits, else to a standing answer, else it waits for an expectation still to come.
 */
export interface ScriptedPeer {
  /** The client's end of a new connection; the peer speaks on the newest one. Read it once per attempt. */
  readonly transport: SdkTransport;
  /** Connections handed out so far. */
  readonly connections: number;
  /** Everything the client sent, over all connections. */
  readonly received: readonly RpcMessage[];
  /** Requests that neither an expectation nor a standing answer has taken. */
  readonly waiting: readonly RpcRequest[];
  expectRequest(method: string, fits?: (request: RpcRequest) => boolean): Expectation;
  expectNotification(
    method: string,
    fits?: (notification: RpcNotification) => boolean,
  ): Promise<RpcNotification>;
  /** From now on answers `method` by itself: a result, or a function of the request; what it throws becomes an error. */
  answer(method: string, answer: Answer): void;
  notify(method: string, params?: Json): void;
  /** Asks the client; rejects with a `RpcFailure` when it answers with an error. */
  request(method: string, params?: Json): Promise<Json>;
  /** Sends anything, protocol or not. */
  send(message: unknown): void;
  /** Ends the newest connection from the server's side. */
  close(): void;
}

type Answer = Json | ((request: RpcRequest) => Json | Promise<Json>);

/** What shall happen to the request; each settles, with the request, when it has come and was dealt with. */
interface Expectation {
  reply(answer: Answer): Promise<RpcRequest>;
  fail(code: number, message: string, data?: unknown): Promise<RpcRequest>;
  /** Takes the request and never answers it. */
  hang(): Promise<RpcRequest>;
  /** Takes the request and ends the connection. */
  die(): Promise<RpcRequest>;
}

export interface ScriptedPeerOptions {
  /** Default `legacy`. */
  readonly era?: 'legacy' | 'modern';
  /** Revision answered to `initialize`, or supported in `server/discover`. Default: the one asked for, `2026-07-28`. */
  readonly protocolVersion?: string;
  readonly serverInfo?: { readonly name: string; readonly version: string };
  readonly instructions?: string;
  /** Default: those of the lists below, `tools` always, each with `listChanged`. */
  readonly capabilities?: Json;
  /** What the lists answer; a string stands for the smallest tool, prompt or resource of that name or URI. */
  readonly tools?: ReadonlyArray<string | Json>;
  readonly prompts?: ReadonlyArray<string | Json>;
  readonly resources?: ReadonlyArray<string | Json>;
  readonly resourceTemplates?: ReadonlyArray<Json>;
  /** Answer the handshake by itself. Default true. */
  readonly handshake?: boolean;
}

class RpcFailure extends Error {
  override readonly name = 'RpcFailure';
  readonly code: number;
  readonly data: unknown;

  constructor(code: number, message: string, data?: unknown) {
    super(message);
    this.code = code;
    this.data = data;
  }
}

/** Real milliseconds an expectation waits before it says what came instead. Shorter than Jest's own 5 s. */
const PATIENCE_MS = 4_000;
const MODERN = '2026-07-28';
const SUBSCRIPTION_ID = 'io.modelcontextprotocol/subscriptionId';
// Taken before a spec can replace them with fake timers.
const startTimer = setTimeout;
const stopTimer = clearTimeout;

interface Wish<T extends RpcRequest | RpcNotification> {
  readonly method: string;
  readonly fits: ((message: T) => boolean) | undefined;
  take(message: T, link: SdkTransport): void;
}

export function createScriptedPeer(options: ScriptedPeerOptions = {}): ScriptedPeer {
  const modern = options.era === 'modern';
  const received: RpcMessage[] = [];
  const requestWishes: Array<Wish<RpcRequest>> = [];
  const notificationWishes: Array<Wish<RpcNotification>> = [];
  const waitingRequests: Array<{ readonly request: RpcRequest; readonly link: SdkTransport }> = [];
  const waitingNotifications: RpcNotification[] = [];
  const answers = new Map<string, Answer>(Object.entries(ownAnswers(options)));
  const asked = new Map<RequestId, { resolve(result: Json): void; reject(error: Error): void }>();
  const subscriptions = new Map<RequestId, ReadonlySet<string>>();
  let connections = 0;
  let nextId = 0;
  let current: SdkTransport | undefined;

  const post = (message: unknown, link = current): void => {
    if (link === undefined) throw new Error('the scripted peer has no connection yet');
    link.send(message as RpcMessage).catch(() => {}); // the client has gone: what a real server would not notice either
  };

  const respond = async (request: RpcRequest, answer: Answer, link: SdkTransport): Promise<void> => {
    try {
      const result = typeof answer === 'function' ? await answer(request) : answer;
      const complete =
        modern && result['resultType'] === undefined ? { resultType: 'complete', ...result } : result;
      post({ jsonrpc: '2.0', id: request.id, result: complete }, link);
    } catch (error) {
      const { code = -32603, message, data } = error as Partial<RpcFailure>;
      post(
        { jsonrpc: '2.0', id: request.id, error: { code, message, ...(data === undefined ? {} : { data }) } },
        link,
      );
    }
  };

  const onRequest = (request: RpcRequest, link: SdkTransport): void => {
    const wish = takeFirst(requestWishes, (w) => w.method === request.method && (w.fits?.(request) ?? true));
    if (wish !== undefined) return wish.take(request, link);
    const answer = answers.get(request.method);
    if (answer !== undefined) return void respond(request, answer, link);
    if (modern && request.method === 'subscriptions/listen') return listen(request, link);
    waitingRequests.push({ request, link });
  };

  const onNotification = (notification: RpcNotification, link: SdkTransport): void => {
    if (notification.method === 'notifications/cancelled') {
      subscriptions.delete(notification.params?.['requestId'] as RequestId);
    }
    const wish = takeFirst(
      notificationWishes,
      (w) => w.method === notification.method && (w.fits?.(notification) ?? true),
    );
    if (wish === undefined) waitingNotifications.push(notification);
    else wish.take(notification, link);
  };

  const listen = (request: RpcRequest, link: SdkTransport): void => {
    const filter = (request.params?.['notifications'] ?? {}) as Json;
    subscriptions.set(request.id, new Set(wantedBy(filter)));
    const params = { notifications: filter, _meta: { [SUBSCRIPTION_ID]: request.id } };
    post({ jsonrpc: '2.0', method: 'notifications/subscriptions/acknowledged', params }, link);
  };

  const connect = (): SdkTransport => {
    const [client, server] = createMemoryPair();
    connections += 1;
    current = server;
    subscriptions.clear();
    server.onmessage = (message) => {
      received.push(message);
      if (!('method' in message)) {
        const waiter = asked.get(message.id as RequestId);
        asked.delete(message.id as RequestId);
        if ('error' in message)
          waiter?.reject(new RpcFailure(message.error.code, message.error.message, message.error.data));
        else waiter?.resolve(message.result);
      } else if ('id' in message) onRequest(message, server);
      else onNotification(message, server);
    };
    server.onclose = () => {
      for (const waiter of asked.values()) waiter.reject(new Error('the connection is closed'));
      asked.clear();
    };
    void server.start();
    return client;
  };

  const waitFor = <T extends RpcRequest | RpcNotification>(
    wishes: Array<Wish<T>>,
    method: string,
    fits: ((message: T) => boolean) | undefined,
    take: (message: T, link: SdkTransport) => void | Promise<void>,
  ): Promise<T> => {
    // Where the wish was made: the stack of a timer says nothing.
    const late = new Error();
    return new Promise<T>((resolve, reject) => {
      const wish: Wish<T> = {
        method,
        fits,
        take(message, link) {
          stopTimer(timer);
          Promise.resolve(take(message, link)).then(() => resolve(message), reject);
        },
      };
      const timer = startTimer(() => {
        takeFirst(wishes, (w) => w === wish);
        const seen = received.map((m) => ('method' in m ? m.method : `answer ${String(m.id)}`)).join(', ');
        late.message = `no ${method} came within ${PATIENCE_MS} ms; received: ${seen === '' ? 'nothing' : seen}`;
        reject(late);
      }, PATIENCE_MS);
      wishes.push(wish);
    });
  };

  const expectRequest = (method: string, fits?: (request: RpcRequest) => boolean): Expectation => {
    const then = (
      act: (request: RpcRequest, link: SdkTransport) => void | Promise<void>,
    ): Promise<RpcRequest> => {
      const early = takeFirst(
        waitingRequests,
        (w) => w.request.method === method && (fits?.(w.request) ?? true),
      );
      if (early === undefined) return waitFor(requestWishes, method, fits, act);
      return Promise.resolve(act(early.request, early.link)).then(() => early.request);
    };
    return {
      reply: (answer) => then((request, link) => respond(request, answer, link)),
      fail: (code, message, data) =>
        then((request, link) =>
          respond(request, () => Promise.reject(new RpcFailure(code, message, data)), link),
        ),
      hang: () => then(() => {}),
      die: () => then((_, link) => link.close()),
    };
  };

  return {
    get transport() {
      return connect();
    },
    get connections() {
      return connections;
    },
    received,
    get waiting() {
      return waitingRequests.map((w) => w.request);
    },
    expectRequest,
    expectNotification(method, fits) {
      const early = takeFirst(waitingNotifications, (n) => n.method === method && (fits?.(n) ?? true));
      return early === undefined
        ? waitFor(notificationWishes, method, fits, () => {})
        : Promise.resolve(early);
    },
    answer(method, answer) {
      answers.set(method, answer);
      for (;;) {
        const early = takeFirst(waitingRequests, (w) => w.request.method === method);
        if (early === undefined) return;
        void respond(early.request, answer, early.link);
      }
    },
    notify(method, params) {
      if (!modern || !GATED.has(method)) return post({ jsonrpc: '2.0', method, ...(params && { params }) });
      // The modern era delivers a change only on a subscription that asked for it.
      for (const [id, wanted] of subscriptions) {
        if (!wanted.has(method) && !wanted.has(`${method} ${String(params?.['uri'])}`)) continue;
        post({ jsonrpc: '2.0', method, params: { ...params, _meta: { [SUBSCRIPTION_ID]: id } } });
      }
    },
    request(method, params) {
      const id = `peer-${(nextId += 1)}`;
      return new Promise((resolve, reject) => {
        asked.set(id, { resolve, reject });
        post({ jsonrpc: '2.0', id, method, ...(params && { params }) });
      });
    },
    send: (message) => post(message),
    close() {
      void current?.close();
    },
  };
}

function ownAnswers(options: ScriptedPeerOptions): Record<string, Answer> {
  const listChanged = true;
  const capabilities = options.capabilities ?? {
    tools: { listChanged },
    ...(options.prompts && { prompts: { listChanged } }),
    ...((options.resources ?? options.resourceTemplates) && { resources: { listChanged, subscribe: true } }),
  };
  const serverInfo = options.serverInfo ?? { name: 'scripted', version: '1.0.0' };
  const instructions = options.instructions === undefined ? {} : { instructions: options.instructions };
  const named = (name: string): Json => ({ name });
  const lists: Record<string, Answer> = {
    'tools/list': { tools: expand(options.tools, (name) => ({ name, inputSchema: { type: 'object' } })) },
    ...(options.prompts && { 'prompts/list': { prompts: expand(options.prompts, named) } }),
    ...(options.resources && {
      'resources/list': { resources: expand(options.resources, (uri) => ({ name: uri, uri })) },
    }),
    ...(options.resourceTemplates && {
      'resources/templates/list': { resourceTemplates: options.resourceTemplates },
    }),
  };
  if (options.handshake === false) return lists;
  if (options.era === 'modern') {
    const supported = [options.protocolVersion ?? MODERN];
    return {
      ...lists,
      'server/discover': {
        supportedVersions: supported,
        capabilities,
        ...instructions,
        _meta: { 'io.modelcontextprotocol/serverInfo': serverInfo },
      },
      initialize: (request) => {
        const requested = String(request.params?.['protocolVersion']);
        throw new RpcFailure(-32022, 'Unsupported protocol version', { supported, requested });
      },
    };
  }
  return {
    ...lists,
    ping: {},
    'server/discover': () => {
      throw new RpcFailure(-32601, 'Method not found');
    },
    initialize: (request) => ({
      protocolVersion: options.protocolVersion ?? request.params?.['protocolVersion'],
      capabilities,
      serverInfo,
      ...instructions,
    }),
  };
}

function expand(items: ReadonlyArray<string | Json> | undefined, make: (name: string) => Json): Json[] {
  return (items ?? []).map((item) => (typeof item === 'string' ? make(item) : item));
}

const CHANGES: Readonly<Record<string, string>> = {
  toolsListChanged: 'notifications/tools/list_changed',
  promptsListChanged: 'notifications/prompts/list_changed',
  resourcesListChanged: 'notifications/resources/list_changed',
};
const UPDATED = 'notifications/resources/updated';
const GATED: ReadonlySet<string> = new Set([...Object.values(CHANGES), UPDATED]);

/** Methods a filter of `subscriptions/listen` asks for; an update of one resource is `method uri`. */
function wantedBy(filter: Json): string[] {
  const wanted = Object.entries(CHANGES).flatMap(([key, method]) => (filter[key] === true ? [method] : []));
  const uris = filter['resourceSubscriptions'];
  return Array.isArray(uris) ? [...wanted, ...uris.map((uri) => `${UPDATED} ${String(uri)}`)] : wanted;
}

function takeFirst<T>(items: T[], fits: (item: T) => boolean): T | undefined {
  const at = items.findIndex(fits);
  return at < 0 ? undefined : items.splice(at, 1)[0];
}

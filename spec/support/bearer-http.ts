import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

type Message = {
  readonly id?: string | number;
  readonly method?: string;
  readonly params?: Readonly<Record<string, unknown>>;
};

interface ServedSession {
  readonly bearer: string;
  stream: ServerResponse | undefined;
  readonly watched: Set<string>;
}

export interface BearerHttp {
  readonly url: string;
  /** Sessions opened so far, by the token that opened them. */
  readonly opened: ReadonlyArray<string>;
  /** Requests that came in a session of another token; nothing may ever be here. */
  readonly mixed: readonly string[];
  /** How often a method was asked for with a token. */
  count(bearer: string, method: string): number;
  /** Tokens whose sessions watch the URI. */
  watchers(uri: string): string[];
  /** Tells the sessions of one token that the resource changed. */
  touch(bearer: string, uri: string): void;
  close(): Promise<void>;
}

/**
 * A legacy server that answers each token with what it saw: the tool `whoami` and the resource `memo://who` say whose the
 * request was, and a tool `only-TOKEN` is listed to that token alone. Without a token everything is 401.
 */
export async function startBearerHttp(refused: ReadonlySet<string> = new Set()): Promise<BearerHttp> {
  const sessions = new Map<string, ServedSession>();
  const opened: string[] = [];
  const mixed: string[] = [];
  const seen: string[] = [];

  const answer = ({ method, params }: Message, session: ServedSession, bearer: string): unknown => {
    const text = JSON.stringify({ bearer, session: session.bearer });
    switch (method) {
      case 'initialize':
        return {
          protocolVersion: '2025-06-18',
          capabilities: { tools: {}, resources: { subscribe: true } },
          serverInfo: { name: 'bearer', version: '1' },
        };
      case 'tools/list':
        return {
          tools: ['whoami', `only-${bearer}`].map((name) => ({ name, inputSchema: { type: 'object' } })),
        };
      case 'tools/call':
        return { content: [{ type: 'text', text }] };
      case 'resources/list':
        return { resources: [{ uri: 'memo://who', name: 'who' }], ttlMs: 60_000, cacheScope: 'public' };
      case 'resources/read':
        return { contents: [{ uri: 'memo://who', text }], ttlMs: 60_000, cacheScope: 'public' };
      case 'resources/subscribe':
        session.watched.add(String(params?.['uri']));
        return {};
      case 'resources/unsubscribe':
        session.watched.delete(String(params?.['uri']));
        return {};
      case 'resources/templates/list':
        return { resourceTemplates: [] };
      default:
        return {};
    }
  };

  const post = (request: IncomingMessage, response: ServerResponse, bearer: string, body: Message): void => {
    seen.push(`${bearer} ${body.method}`);
    let id = String(request.headers['mcp-session-id'] ?? '');
    if (body.method === 'initialize') {
      id = randomUUID();
      sessions.set(id, { bearer, stream: undefined, watched: new Set() });
      opened.push(bearer);
    }
    const session = sessions.get(id);
    if (session === undefined) {
      response.writeHead(id === '' ? 400 : 404).end();
      return;
    }
    if (session.bearer !== bearer)
      mixed.push(`${bearer} in the session of ${session.bearer}: ${body.method}`);
    if (body.id === undefined) {
      response.writeHead(202).end();
      return;
    }
    // Out of order, so that answers of two tokens are under way at the same time.
    setTimeout(
      () =>
        response
          .writeHead(200, { 'content-type': 'application/json', 'mcp-session-id': id })
          .end(JSON.stringify({ jsonrpc: '2.0', id: body.id, result: answer(body, session, bearer) })),
      seen.length % 4,
    );
  };

  const server = createServer((request, response) => {
    const bearer = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '')?.[1];
    if (bearer === undefined || refused.has(bearer)) {
      response.writeHead(401, { 'www-authenticate': 'Bearer' }).end();
      return;
    }
    const session = sessions.get(String(request.headers['mcp-session-id'] ?? ''));
    if (request.method === 'GET' && session !== undefined) {
      session.stream = response;
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
      return;
    }
    if (request.method !== 'POST') {
      response.writeHead(request.method === 'DELETE' ? 200 : 405).end();
      return;
    }
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () =>
      post(request, response, bearer, JSON.parse(Buffer.concat(chunks).toString()) as Message),
    );
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;

  return {
    url: `http://127.0.0.1:${port}/mcp`,
    opened,
    mixed,
    count: (bearer, method) => seen.filter((line) => line === `${bearer} ${method}`).length,
    watchers: (uri) =>
      [...sessions.values()].filter(({ watched }) => watched.has(uri)).map(({ bearer }) => bearer),
    touch(bearer, uri) {
      const note = { jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri } };
      for (const session of sessions.values())
        if (session.bearer === bearer) session.stream?.write(`data: ${JSON.stringify(note)}\n\n`);
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

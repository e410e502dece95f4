import { createHash, randomUUID } from 'node:crypto';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/** A request as one of the two servers saw it. */
export interface Visit {
  readonly at: 'mcp' | 'as';
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** `otherwise` answers as if there were no override, to this visit or another one. */
export type Override = (visit: Visit, response: ServerResponse, otherwise: (instead?: Visit) => void) => void;

/** An MCP server that wants a token, and the authorization server it names. */
export interface AuthorizationWorld {
  readonly url: string;
  readonly issuer: string;
  readonly visits: Visit[];
  /** Every token that was issued, in order. */
  readonly issued: readonly string[];
  /** Visits of one path of the authorization server. */
  asked(path: string): Visit[];
  /** Grants of the token endpoint, in order: `authorization_code`, `refresh_token` … */
  grants(): string[];
  /** No token issued so far is taken any longer. */
  expire(): void;
  /** Takes this token too. */
  accept(token: string): void;
  /** Scope that `tools/call` needs; a token without it gets 403. */
  needScope(scope: string | undefined): void;
  /** Does something else at `as /token`, `mcp /mcp` and so on; `undefined` ends it. */
  override(place: string, script: Override | undefined): void;
  /** Plays the browser of a person who agrees: where they are sent back to. */
  agree(authorizationUrl: string): Promise<string>;
  close(): Promise<void>;
}

export async function createAuthorizationWorld(): Promise<AuthorizationWorld> {
  const visits: Visit[] = [];
  const overrides = new Map<string, Override>();
  const valid = new Map<string, string>();
  const issued: string[] = [];
  const refreshTokens = new Map<string, string>();
  const codes = new Map<string, { challenge: string; scope: string }>();
  let needed: string | undefined;

  const mcp = await listen('mcp', visits, overrides, (visit, response) => {
    if (visit.path.startsWith('/.well-known/oauth-protected-resource')) {
      return send(response, 200, { resource: mcp.url, authorization_servers: [as.origin] });
    }
    if (visit.path.split('?')[0] !== '/mcp') return send(response, 404, {});
    if (visit.method !== 'POST') return send(response, 405, {});
    const metadata = `${mcp.origin}/.well-known/oauth-protected-resource/mcp`;
    const scope = valid.get((visit.headers.authorization ?? '').replace(/^Bearer /, ''));
    if (scope === undefined)
      return send(response, 401, {}, { 'www-authenticate': `Bearer resource_metadata="${metadata}"` });
    const message = JSON.parse(visit.body) as {
      id?: number;
      method: string;
      params?: { arguments?: unknown };
    };
    if (message.id === undefined) return send(response, 202, undefined);
    if (message.method === 'tools/call' && needed !== undefined && !scope.split(' ').includes(needed)) {
      const challenge = `Bearer error="insufficient_scope", scope="${needed}", resource_metadata="${metadata}"`;
      return send(response, 403, {}, { 'www-authenticate': challenge });
    }
    const results: Record<string, unknown> = {
      initialize: {
        protocolVersion: '2025-11-25',
        capabilities: { tools: {} },
        serverInfo: { name: 'guarded', version: '1' },
      },
      'tools/list': { tools: [{ name: 'echo', inputSchema: { type: 'object' } }] },
      'tools/call': { content: [{ type: 'text', text: JSON.stringify(message.params?.arguments ?? {}) }] },
    };
    const result = results[message.method];
    const answer = result === undefined ? { error: { code: -32601, message: 'no such method' } } : { result };
    return send(response, 200, { jsonrpc: '2.0', id: message.id, ...answer });
  });

  const issue = (scope: string, response: ServerResponse): void => {
    const access = `access-${randomUUID()}`;
    const refresh = `refresh-${randomUUID()}`;
    issued.push(access, refresh);
    valid.set(access, scope);
    refreshTokens.set(refresh, scope);
    send(response, 200, {
      access_token: access,
      token_type: 'Bearer',
      expires_in: 3600,
      refresh_token: refresh,
      scope,
    });
  };

  const as = await listen('as', visits, overrides, (visit, response) => {
    const url = new URL(visit.path, as.origin);
    const form = new URLSearchParams(visit.body);
    switch (url.pathname) {
      case '/.well-known/oauth-authorization-server':
        return send(response, 200, {
          issuer: as.origin,
          authorization_endpoint: `${as.origin}/authorize`,
          token_endpoint: `${as.origin}/token`,
          registration_endpoint: `${as.origin}/register`,
          response_types_supported: ['code'],
          grant_types_supported: ['authorization_code', 'refresh_token', 'client_credentials'],
          code_challenge_methods_supported: ['S256'],
          token_endpoint_auth_methods_supported: ['none', 'client_secret_basic'],
          authorization_response_iss_parameter_supported: true,
        });
      case '/register':
        return send(response, 201, {
          ...(JSON.parse(visit.body) as object),
          client_id: `client-${randomUUID()}`,
        });
      case '/authorize': {
        const code = randomUUID();
        codes.set(code, {
          challenge: url.searchParams.get('code_challenge') ?? '',
          scope: url.searchParams.get('scope') ?? 'basic',
        });
        const back = new URL(url.searchParams.get('redirect_uri') ?? '');
        back.searchParams.set('code', code);
        back.searchParams.set('state', url.searchParams.get('state') ?? '');
        back.searchParams.set('iss', as.origin);
        return send(response, 302, undefined, { location: back.href });
      }
      case '/token': {
        const refused = (error: string): void => send(response, 400, { error });
        switch (form.get('grant_type')) {
          case 'authorization_code': {
            const known = codes.get(form.get('code') ?? '');
            codes.delete(form.get('code') ?? '');
            const proof = createHash('sha256')
              .update(form.get('code_verifier') ?? '')
              .digest('base64url');
            return known?.challenge === proof ? issue(known.scope, response) : refused('invalid_grant');
          }
          case 'refresh_token': {
            const scope = refreshTokens.get(form.get('refresh_token') ?? '');
            // Rotated: a second use of the same one is refused, as by many real servers.
            refreshTokens.delete(form.get('refresh_token') ?? '');
            return scope === undefined ? refused('invalid_grant') : issue(scope, response);
          }
          case 'client_credentials':
            return visit.headers.authorization === `Basic ${Buffer.from('robot:s3cret').toString('base64')}`
              ? issue(form.get('scope') ?? 'basic', response)
              : send(response, 401, { error: 'invalid_client' });
          default:
            return refused('unsupported_grant_type');
        }
      }
      default:
        return send(response, 404, {});
    }
  });

  return {
    url: mcp.url,
    issuer: as.origin,
    visits,
    issued,
    asked: (path) => visits.filter((visit) => visit.at === 'as' && visit.path.split('?')[0] === path),
    grants: () =>
      visits
        .filter((visit) => visit.at === 'as' && visit.path === '/token')
        .map((visit) => new URLSearchParams(visit.body).get('grant_type') ?? ''),
    expire: () => valid.clear(),
    accept: (token) => void valid.set(token, 'basic'),
    needScope: (scope) => {
      needed = scope;
    },
    override(place, script) {
      if (script === undefined) overrides.delete(place);
      else overrides.set(place, script);
    },
    async agree(authorizationUrl) {
      const response = await fetch(authorizationUrl, { redirect: 'manual' });
      return response.headers.get('location') ?? '';
    },
    close: async () => {
      await Promise.all([mcp.close(), as.close()]);
    },
  };
}

export function send(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  if (body === undefined) response.writeHead(status, headers).end();
  else
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
}

/** A listener that only notes who comes: a place where no credential must ever arrive. */
export async function createCanary(): Promise<{
  readonly origin: string;
  readonly visits: Visit[];
  close(): Promise<void>;
}> {
  const visits: Visit[] = [];
  const { origin, close } = await listen('as', visits, new Map(), (_visit, response) =>
    send(response, 404, {}),
  );
  return { origin, visits, close };
}

async function listen(
  at: Visit['at'],
  visits: Visit[],
  overrides: Map<string, Override>,
  script: (visit: Visit, response: ServerResponse) => void,
) {
  const sockets = new Set<Socket>();
  const server = createServer((request: IncomingMessage, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { method = '', url = '', headers } = request;
      const visit: Visit = { at, method, path: url, headers, body: Buffer.concat(chunks).toString() };
      visits.push(visit);
      const otherwise = (instead = visit): void => script(instead, response);
      const override = overrides.get(`${at} ${url.split('?')[0]}`);
      if (override === undefined) otherwise();
      else override(visit, response, otherwise);
    });
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    origin,
    url: `${origin}/mcp`,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

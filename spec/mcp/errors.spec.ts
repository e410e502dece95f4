import { describe, it, expect } from '@jest/globals';
import {
  Client,
  InsufficientScopeError,
  OAuthError,
  ProtocolError,
  ResourceNotFoundError,
  SdkError,
  SdkErrorCode,
  SdkHttpError,
  SseError,
  UnauthorizedError,
} from '@modelcontextprotocol/client';
import { SdkError as ServerSdkError } from '@modelcontextprotocol/server';
import { UnauthorizedError as V1Unauthorized } from '@modelcontextprotocol/sdk/client/auth.js';
import { StreamableHTTPError } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { McpError } from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';
import { spawn } from 'node:child_process';
import { TroupeError } from '../../lib/core/errors.ts';
import type { Delivery, ErrorCode } from '../../lib/core/errors.ts';
import { fromRpcError, fromSdk, toSdkError } from '../../lib/mcp/errors.ts';
import { createScriptedPeer } from '../support/scripted-peer.ts';

const coded = (code: string, extra: object = {}): Error => Object.assign(new Error(code), { code, ...extra });
const fetchFailed = (code: string): Error => new TypeError('fetch failed', { cause: coded(code) });
const http = (status: number): SdkHttpError =>
  new SdkHttpError(SdkErrorCode.ClientHttpNotImplemented, `HTTP ${status}`, { status, text: 'body' });

describe('fromSdk', () => {
  const given: Delivery = 'sent';
  const table: ReadonlyArray<readonly [name: string, error: unknown, code: ErrorCode, delivery: Delivery]> = [
    ['Not connected', new Error('Not connected'), 'unavailable', 'unsent'],
    ['NOT_CONNECTED', new SdkError(SdkErrorCode.NotConnected, 'x'), 'unavailable', 'unsent'],
    ['CONNECTION_CLOSED', new SdkError(SdkErrorCode.ConnectionClosed, 'x'), 'connection_lost', 'sent'],
    [
      'CONNECTION_CLOSED of the server package',
      new ServerSdkError('CONNECTION_CLOSED' as never, 'x'),
      'connection_lost',
      'sent',
    ],
    ['REQUEST_TIMEOUT', new SdkError(SdkErrorCode.RequestTimeout, 'x'), 'deadline_exceeded', 'sent'],
    ['INVALID_RESULT', new SdkError(SdkErrorCode.InvalidResult, 'x'), 'invalid_response', 'answered'],
    [
      'CAPABILITY_NOT_SUPPORTED',
      new SdkError(SdkErrorCode.CapabilityNotSupported, 'x'),
      'unsupported',
      'unsent',
    ],
    [
      'LIST_PAGINATION_EXCEEDED',
      new SdkError(SdkErrorCode.ListPaginationExceeded, 'x'),
      'limit_exceeded',
      'answered',
    ],
    [
      'UNEXPECTED_CONTENT',
      new SdkError(SdkErrorCode.ClientHttpUnexpectedContent, 'x'),
      'invalid_response',
      'answered',
    ],
    ['an SDK code of the future', new SdkError('NEW_CODE' as never, 'x'), 'internal', 'sent'],
    ['HTTP 400', http(400), 'protocol_error', 'answered'],
    ['HTTP 401', http(401), 'auth_required', 'unsent'],
    ['HTTP 403', http(403), 'auth_required', 'unsent'],
    ['HTTP 404', http(404), 'protocol_error', 'answered'],
    ['HTTP 429', http(429), 'rate_limited', 'unsent'],
    ['HTTP 500', http(500), 'unavailable', 'sent'],
    ['HTTP 503', http(503), 'unavailable', 'sent'],
    ['HTTP 501', http(501), 'protocol_error', 'answered'],
    ['HTTP 504', http(504), 'unavailable', 'sent'],
    ['HTTP 404 of SDK 1', new StreamableHTTPError(404, 'x'), 'protocol_error', 'answered'],
    ['UnauthorizedError', new UnauthorizedError(), 'auth_required', 'unsent'],
    ['UnauthorizedError of SDK 1', new V1Unauthorized(), 'auth_required', 'unsent'],
    ['InsufficientScopeError', new InsufficientScopeError({ requiredScope: 'a' }), 'auth_required', 'unsent'],
    ['OAuthError', new OAuthError('invalid_grant', 'x'), 'auth_required', 'unsent'],
    ['SseError', new SseError(undefined, 'gone', {} as never), 'connection_lost', 'sent'],
    ['SseError 401', new SseError(401, 'no', {} as never), 'auth_required', 'unsent'],
    ['ProtocolError -32601', new ProtocolError(-32601, 'x'), 'unsupported', 'answered'],
    ['ProtocolError -32603', new ProtocolError(-32603, 'x'), 'protocol_error', 'answered'],
    ['ResourceNotFoundError', new ResourceNotFoundError('a:b'), 'not_found', 'answered'],
    ['McpError of SDK 1', new McpError(-32602, 'x'), 'protocol_error', 'answered'],
    ['closed in SDK 1', new McpError(-32000, 'Connection closed'), 'connection_lost', 'sent'],
    ['timed out in SDK 1', new McpError(-32001, 'Request timed out'), 'deadline_exceeded', 'sent'],
    ['ECONNREFUSED', fetchFailed('ECONNREFUSED'), 'unavailable', 'unsent'],
    ['ENOTFOUND', fetchFailed('ENOTFOUND'), 'unavailable', 'unsent'],
    ['CERT_HAS_EXPIRED', fetchFailed('CERT_HAS_EXPIRED'), 'unavailable', 'unsent'],
    ['UND_ERR_SOCKET', fetchFailed('UND_ERR_SOCKET'), 'connection_lost', 'sent'],
    ['ECONNRESET', coded('ECONNRESET'), 'connection_lost', 'sent'],
    ['fetch failed alone', new TypeError('fetch failed'), 'connection_lost', 'sent'],
    ['EPIPE', coded('EPIPE', { syscall: 'write' }), 'connection_lost', 'sent'],
    ['ZodError', z.string().safeParse(1).error, 'invalid_response', 'answered'],
    ['SyntaxError', new SyntaxError('Unexpected token'), 'invalid_response', 'answered'],
    ['AbortError', Object.assign(new Error('x'), { name: 'AbortError' }), 'cancelled', 'sent'],
    ['TimeoutError', Object.assign(new Error('x'), { name: 'TimeoutError' }), 'deadline_exceeded', 'sent'],
    ['anything', new Error('boom'), 'internal', 'sent'],
    ['no error at all', { odd: true }, 'internal', 'sent'],
    ['undefined', undefined, 'internal', 'sent'],
  ];

  it.each(table)('%s', (_, error, code, delivery) => {
    const mapped = fromSdk(error, { server: 's', delivery: given });
    expect(mapped).toMatchObject({ name: 'TroupeError', code, delivery, server: 's' });
    expect(mapped.cause).toBe(error);
  });

  it('keeps status and text of an HTTP refusal', () => {
    expect(fromSdk(http(404)).data).toEqual({ status: 404, text: 'body' });
  });

  it('says what a challenge asks for', () => {
    expect(fromSdk(new InsufficientScopeError({ requiredScope: 'read write' })).data).toEqual({
      scope: 'read write',
    });
    expect(fromSdk(new OAuthError('invalid_grant', 'x')).data).toEqual({ error: 'invalid_grant' });
  });

  it('names the reason under "fetch failed"', () => {
    const cause = coded('ECONNREFUSED');
    cause.message = 'connect ECONNREFUSED 127.0.0.1:1';
    const mapped = fromSdk(new TypeError('fetch failed', { cause }), { server: 's' });
    expect(mapped.message).toBe('[unavailable] s: fetch failed: connect ECONNREFUSED 127.0.0.1:1');
    expect(mapped.data).toEqual({ cause: 'ECONNREFUSED' });
  });

  it('names the command that could not be started, and what to check', async () => {
    const command = ['no-such', 'command-of-mcp-troupe'].join('-');
    const child = spawn(command);
    const error = await new Promise((resolve) => child.once('error', resolve));
    const mapped = fromSdk(error, { server: 's' });
    expect(mapped.code).toBe('unavailable');
    expect(mapped.message).toMatch(/s: no-such-command-of-mcp-troupe is not found: check `command`, PATH/);
  });

  it('gives a TroupeError back, whatever the SDK wrapped around it', () => {
    const own = new TroupeError('queue_full', 'no room', { delivery: 'unsent' });
    expect(fromSdk(new SdkError('X' as never, 'x', undefined, { cause: own }))).toBe(own);
    const located = fromSdk(own, { server: 's', attempt: 3, delivery: 'sent' });
    expect(located).toMatchObject({ code: 'queue_full', server: 's', attempt: 3, delivery: 'unsent' });
  });

  it('ends on a chain of causes that is a loop', () => {
    const a: Error = new Error('a');
    const b = new Error('b', { cause: a });
    a.cause = b;
    expect(fromSdk(a).code).toBe('internal');
  });

  it('bounds and escapes what a server wrote', () => {
    const mapped = fromSdk(
      new ProtocolError(-32000, `a\u001b[31m\n${'x'.repeat(100_000)}`, { blob: 'y'.repeat(100_000) }),
    );
    expect(mapped.message.length).toBeLessThan(2_200);
    expect(mapped.message).toContain('a\\u001b[31m\\u000ax');
    expect(JSON.stringify(mapped.data).length).toBeLessThan(200);
  });
});

describe('fromRpcError', () => {
  const of = (code: number, data?: unknown, method?: string): TroupeError =>
    fromRpcError({ code, message: 'm', ...(data !== undefined && { data }) }, { server: 's' }, method);

  it.each([
    [-32601, undefined, 'tools/call', 'unsupported'],
    [-32002, undefined, 'resources/read', 'not_found'],
    [-32602, { uri: 'a:b' }, 'resources/read', 'not_found'],
    [-32602, { uri: 'a:b', hint: 'gone' }, 'resources/read', 'not_found'],
    [-32602, { uri: 'a:b' }, undefined, 'not_found'],
    [-32602, { uri: 'a:b', hint: 'https only' }, undefined, 'protocol_error'],
    [-32602, { uri: 'a:b' }, 'tools/call', 'protocol_error'],
    [-32602, undefined, 'tools/call', 'protocol_error'],
    [-32042, { elicitations: [] }, 'tools/call', 'protocol_error'],
    [-32603, undefined, 'tools/call', 'protocol_error'],
    [1, undefined, 'tools/call', 'protocol_error'],
  ])('%s with %j for %s is %s', (code, data, method, expected) => {
    const mapped = of(code, data, method);
    expect(mapped).toMatchObject({ code: expected, delivery: 'answered', server: 's' });
    expect(mapped.data).toEqual({ code, message: 'm', ...(data !== undefined && { data }) });
  });

  it('has words for an answer without any', () => {
    expect(fromRpcError({ code: -1, message: undefined as unknown as string }).message).toBe(
      '[protocol_error] error -1',
    );
  });
});

describe('toSdkError, as the negotiation of the real client sees it', () => {
  /** A peer whose first request fails in `send` with `failure`; the rest is a plain legacy server. */
  async function connect(failure: TroupeError | undefined): Promise<Client> {
    const transport = createScriptedPeer({ protocolVersion: '2025-06-18' }).transport;
    const send = transport.send.bind(transport);
    transport.send = (message, options) => {
      if (failure !== undefined && 'method' in message && message.method === 'server/discover') {
        return Promise.reject(toSdkError(failure));
      }
      return send(message, options);
    };
    const client = new Client(
      { name: 'c', version: '1' },
      { versionNegotiation: { mode: 'auto', probe: { timeoutMs: 1_000 } } },
    );
    await client.connect(transport);
    return client;
  }

  const refusal = (status: number, text?: string): TroupeError =>
    new TroupeError('protocol_error', `HTTP ${status}`, {
      server: 's',
      delivery: 'answered',
      data: { status, text },
    });

  it.each([400, 404, 405, 415])('%s is a legacy server', async (status) => {
    const client = await connect(refusal(status));
    expect(client.getNegotiatedProtocolVersion()).toBe('2025-06-18');
    await client.close();
  });

  it('400 whose body names modern revisions is a modern server', async () => {
    const body = {
      error: { code: -32022, message: 'x', data: { supported: ['2099-01-01'], requested: '2026-07-28' } },
    };
    await expect(connect(refusal(400, JSON.stringify(body)))).rejects.toMatchObject({ code: -32022 });
  });

  const failures: ReadonlyArray<readonly [string, TroupeError, ErrorCode, object]> = [
    [
      '401',
      new TroupeError('auth_required', 'no', { data: { status: 401 } }),
      'auth_required',
      { status: 401 },
    ],
    [
      '403',
      new TroupeError('auth_required', 'no', { data: { status: 403 } }),
      'auth_required',
      { status: 403 },
    ],
    ['auth without a status', new TroupeError('auth_required', 'sign in first', {}), 'auth_required', {}],
    [
      '503',
      new TroupeError('unavailable', 'down', { data: { status: 503 } }),
      'unavailable',
      { status: 503 },
    ],
    ['refused', new TroupeError('unavailable', 'connect ECONNREFUSED', {}), 'unavailable', {}],
    [
      'lost',
      new TroupeError('connection_lost', 'socket hang up', { delivery: 'sent' }),
      'connection_lost',
      {},
    ],
    [
      'an unusable answer',
      new TroupeError('invalid_response', 'not JSON', { delivery: 'answered' }),
      'invalid_response',
      {},
    ],
    ['too much', new TroupeError('limit_exceeded', '20 MB', { delivery: 'answered' }), 'limit_exceeded', {}],
  ];

  it.each(failures)(
    '%s is no verdict about the era, and comes back as it was',
    async (_, failure, code, data) => {
      const thrown: unknown = await connect(failure).then(
        () => undefined,
        (error: unknown) => error,
      );
      const back = fromSdk(thrown, { server: 's' });
      expect(back).toMatchObject({ code, server: 's' });
      expect(back.data ?? {}).toMatchObject(data);
    },
  );

  it('leaves foreign errors alone', () => {
    const error = new Error('x');
    expect(toSdkError(error)).toBe(error);
    expect(toSdkError('text').message).toBe('text');
  });
});

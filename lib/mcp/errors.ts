import { SdkError, SdkErrorCode, SdkHttpError, UnauthorizedError } from '@modelcontextprotocol/client';
import { TroupeError, errorText, isError, isTroupeError } from '../core/errors.ts';
import type { Delivery, ErrorCode, ErrorFacts } from '../core/errors.ts';
import { isJson } from '../core/json-rpc.ts';

/**
 * The one door for foreign errors: what the MCP SDK, `fetch`, sockets and child processes throw becomes a
 * `TroupeError`. Everything is recognised by brand, name or code, never by `instanceof`, because the SDK may be loaded
 * more than once and in more than one version.
 *
 * `facts.delivery` is what the caller knows about the request; where the error itself says more (refused connection,
 * an HTTP status), the error wins. A `TroupeError` that went through the SDK as a cause comes out as it went in.
 */
export function fromSdk(error: unknown, facts: ErrorFacts = {}): TroupeError {
  const own = ownError(error);
  if (own !== undefined) return located(own, facts);
  if (!isError(error)) return new TroupeError('internal', errorText(error), { ...facts, cause: error });
  const { code, detail = errorText(error), delivery, data } = judge(error);
  return new TroupeError(code, detail, {
    ...facts,
    cause: error,
    ...(delivery !== undefined && { delivery }),
    ...(data !== undefined && { data }),
  });
}

export interface RpcErrorBody {
  readonly code: number;
  readonly message: string;
  readonly data?: unknown;
}

/**
 * A JSON-RPC error answer. `method` is the method that was asked; with it a resource that does not exist is told from
 * wrong parameters. `data` of the result is `{ code, message, data }` as the server sent it, delivery `answered`.
 */
export function fromRpcError(error: RpcErrorBody, facts: ErrorFacts = {}, method?: string): TroupeError {
  const message =
    typeof error.message === 'string' && error.message !== '' ? error.message : `error ${error.code}`;
  return new TroupeError(rpcCode(error, method), message, {
    ...facts,
    delivery: 'answered',
    data: { code: error.code, message, ...(error.data !== undefined && { data: error.data }) },
  });
}

/**
 * The way back: what the SDK client must see of a failed `send` so that its version negotiation decides rightly. An
 * HTTP status becomes an `SdkHttpError`, a missing authorization an `UnauthorizedError`, an unusable answer
 * `CLIENT_HTTP_UNEXPECTED_CONTENT`, everything else `CONNECTION_CLOSED` (a network failure, never an era verdict).
 */
export function toSdkError(error: unknown): Error {
  if (!isTroupeError(error)) return isError(error) ? error : new Error(errorText(error));
  const cause = { cause: error };
  const status = statusOf(error.data);
  if (status !== undefined) {
    const { statusText, text } = error.data as { statusText?: unknown; text?: unknown };
    return new SdkHttpError(
      SdkErrorCode.ClientHttpNotImplemented,
      error.message,
      {
        status,
        ...(typeof statusText === 'string' && { statusText }),
        ...(typeof text === 'string' && { text }),
      },
      cause,
    );
  }
  if (error.code === 'auth_required') return Object.assign(new UnauthorizedError(error.message), cause);
  if (error.code === 'invalid_response') {
    return new SdkError(SdkErrorCode.ClientHttpUnexpectedContent, error.message, undefined, cause);
  }
  if (error.code === 'deadline_exceeded') {
    return new SdkError(SdkErrorCode.RequestTimeout, error.message, undefined, cause);
  }
  return new SdkError(SdkErrorCode.ConnectionClosed, error.message, undefined, cause);
}

interface Judgement {
  readonly code: ErrorCode;
  readonly detail?: string;
  readonly delivery?: Delivery;
  readonly data?: unknown;
}

/** How far into a chain of causes to look: the SDK wraps once, `fetch` once, and a loop must end. */
const MAX_CAUSES = 5;

function ownError(error: unknown): TroupeError | undefined {
  let at: unknown = error;
  for (let i = 0; i < MAX_CAUSES && isError(at); i += 1) {
    if (isTroupeError(at)) return at;
    at = at.cause;
  }
  return undefined;
}

function located(error: TroupeError, facts: ErrorFacts): TroupeError {
  if (error.server !== undefined || (facts.server ?? facts.connection) === undefined) return error;
  const { server, connection, attempt } = facts;
  return error.with({ server, connection, attempt });
}

type Foreign = Error & { readonly code?: unknown; readonly data?: unknown; readonly status?: unknown };

function judge(error: Foreign): Judgement {
  const kinds = kindsOf(error);
  if (kinds.has('ProtocolError') || kinds.has('McpError')) return ofProtocol(error, kinds);
  for (const kind of AUTH_KINDS) if (kinds.has(kind)) return ofAuthorization(error);
  if (kinds.has('SdkHttpError') || kinds.has('StreamableHTTPError')) return ofStatus(error);
  if (kinds.has('SdkError')) return ofSdkCode(error);
  if (kinds.has('SseError')) {
    // Its event source would reconnect by itself into a session that was never initialised.
    return AUTH_STATUS.has(Number(error.code)) ? ofStatus(error) : { code: 'connection_lost' };
  }
  if (kinds.has('ZodError') || kinds.has('$ZodError') || kinds.has('SyntaxError')) {
    return { code: 'invalid_response', delivery: 'answered' };
  }
  if (kinds.has('AbortError')) return { code: 'cancelled' };
  if (kinds.has('TimeoutError')) return { code: 'deadline_exceeded' };
  if (error.message === 'Not connected') return { code: 'unavailable', delivery: 'unsent' };
  // What `connect` of the SDK client throws is a plain error.
  if (error.message.includes('protocol version is not supported'))
    return { code: 'unsupported', delivery: 'answered' };
  return ofSystem(error) ?? { code: 'internal' };
}

const BRANDS = Symbol.for('mcp.sdk.errorBrands');

/** Brands of SDK 2, the name, and the class name (SDK 1 leaves `name` at `Error`). */
function kindsOf(error: Error): ReadonlySet<string> {
  const kinds = new Set([error.name, error.constructor?.name]);
  const brands = (error as unknown as Record<symbol, unknown>)[BRANDS];
  if (brands instanceof Set) {
    for (const brand of brands) if (typeof brand === 'string') kinds.add(brand.replace(/^mcp\./, ''));
  }
  return kinds;
}

function ofProtocol(error: Foreign, kinds: ReadonlySet<string>): Judgement {
  const rpc = Number(error.code);
  if (kinds.has('McpError')) {
    // SDK 1 reports its own failures with codes of the server's range.
    if (rpc === -32000 && error.message.includes('Connection closed')) return { code: 'connection_lost' };
    if (rpc === -32001 && error.message.includes('timed out')) return { code: 'deadline_exceeded' };
  }
  const message = error.message.replace(/^MCP error -?\d+: /, '');
  const body = { code: rpc, message, ...(error.data !== undefined && { data: error.data }) };
  return { code: rpcCode(body, undefined), detail: message, delivery: 'answered', data: body };
}

const METHOD_NOT_FOUND = -32601;
const INVALID_PARAMS = -32602;
/** Before 2026-07-28; since then −32602 with `data: { uri }`. */
const RESOURCE_NOT_FOUND = -32002;

function rpcCode(error: RpcErrorBody, method: string | undefined): ErrorCode {
  if (error.code === METHOD_NOT_FOUND) return 'unsupported';
  if (error.code === RESOURCE_NOT_FOUND) return 'not_found';
  if (error.code !== INVALID_PARAMS || !isJson(error.data) || typeof error.data['uri'] !== 'string') {
    return 'protocol_error';
  }
  // Without the method, only the exact form of the specification counts: parameters can be wrong about a URI, too.
  return method === 'resources/read' || (method === undefined && Object.keys(error.data).length === 1)
    ? 'not_found'
    : 'protocol_error';
}

const AUTH_KINDS = [
  'UnauthorizedError',
  'InsufficientScopeError',
  'OAuthError',
  'OAuthClientFlowError',
] as const;
const AUTH_STATUS: ReadonlySet<number> = new Set([401, 403]);

function ofAuthorization(error: Foreign): Judgement {
  const { requiredScope, errorDescription } = error as {
    requiredScope?: unknown;
    errorDescription?: unknown;
  };
  const data = {
    ...(typeof error.code === 'string' && { error: error.code }),
    ...(typeof requiredScope === 'string' && { scope: requiredScope }),
    ...(typeof errorDescription === 'string' && { description: errorDescription }),
  };
  return { code: 'auth_required', delivery: 'unsent', ...(Object.keys(data).length > 0 && { data }) };
}

function statusOf(data: unknown): number | undefined {
  const status = isJson(data) ? data['status'] : undefined;
  return typeof status === 'number' && status >= 100 && status < 600 ? status : undefined;
}

function ofStatus(error: Foreign): Judgement {
  const given = isJson(error.data) ? error.data : {};
  const status = statusOf(error.data) ?? statusOf({ status: error.status ?? error.code });
  if (status === undefined) return ofSdkCode(error);
  const data = {
    status,
    ...(typeof given['statusText'] === 'string' && { statusText: given['statusText'] }),
    ...(typeof given['text'] === 'string' && { text: given['text'] }),
  };
  // Not begun.
  if (AUTH_STATUS.has(status)) return { code: 'auth_required', delivery: 'unsent', data };
  if (status === 429) return { code: 'rate_limited', delivery: 'unsent', data };
  // A proxy or a crashed handler: the request may have run.
  if (status >= 500 && status !== 501 && status !== 505)
    return { code: 'unavailable', delivery: 'sent', data };
  return { code: 'protocol_error', delivery: 'answered', data };
}

/** Codes of `SdkError` by meaning (protocol §2.5); each is a failure on our side of the wire. */
const SDK_CODES: Readonly<Record<string, Judgement>> = {
  NOT_CONNECTED: { code: 'unavailable', delivery: 'unsent' },
  NOT_INITIALIZED: { code: 'unavailable', delivery: 'unsent' },
  CONNECTION_CLOSED: { code: 'connection_lost' },
  SEND_FAILED: { code: 'connection_lost' },
  REQUEST_TIMEOUT: { code: 'deadline_exceeded' },
  INVALID_RESULT: { code: 'invalid_response', delivery: 'answered' },
  UNSUPPORTED_RESULT_TYPE: { code: 'invalid_response', delivery: 'answered' },
  CAPABILITY_NOT_SUPPORTED: { code: 'unsupported', delivery: 'unsent' },
  METHOD_NOT_SUPPORTED_BY_PROTOCOL_VERSION: { code: 'unsupported', delivery: 'unsent' },
  LIST_PAGINATION_EXCEEDED: { code: 'limit_exceeded', delivery: 'answered' },
  INPUT_REQUIRED_ROUNDS_EXCEEDED: { code: 'limit_exceeded', delivery: 'answered' },
  CLIENT_HTTP_AUTHENTICATION: { code: 'auth_required', delivery: 'unsent' },
  CLIENT_HTTP_FORBIDDEN: { code: 'auth_required', delivery: 'unsent' },
  CLIENT_HTTP_UNEXPECTED_CONTENT: { code: 'invalid_response', delivery: 'answered' },
  CLIENT_HTTP_NOT_IMPLEMENTED: { code: 'protocol_error', delivery: 'answered' },
  CLIENT_HTTP_FAILED_TO_OPEN_STREAM: { code: 'unavailable' },
  CLIENT_HTTP_FAILED_TO_TERMINATE_SESSION: { code: 'unavailable' },
};

function ofSdkCode(error: Foreign): Judgement {
  if (error.code !== 'ERA_NEGOTIATION_FAILED') return SDK_CODES[String(error.code)] ?? { code: 'internal' };
  const cause = error.cause ?? (isJson(error.data) ? error.data['cause'] : undefined);
  if (isError(cause)) {
    const judged = judge(cause);
    return {
      ...judged,
      code: judged.code === 'internal' ? 'unavailable' : judged.code,
      detail: error.message,
    };
  }
  // No cause: the connection ended during the probe, or the server does not speak what was asked for.
  return error.message.includes('closed')
    ? { code: 'connection_lost', delivery: 'sent' }
    : { code: 'unsupported', delivery: 'answered' };
}

/** Codes of failures before a byte of the request was written. */
const NEVER_SENT: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EAI_FAIL',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EHOSTDOWN',
  'EADDRNOTAVAIL',
  'UND_ERR_CONNECT_TIMEOUT',
  'ERR_INVALID_URL',
  'EPROTO',
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'EMFILE',
  'ENFILE',
]);

/** Codes of a conversation that broke: the request may have been received. */
const MAYBE_SENT: ReadonlySet<string> = new Set([
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'UND_ERR_SOCKET',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'UND_ERR_CLOSED',
  'UND_ERR_DESTROYED',
  'ERR_STREAM_WRITE_AFTER_END',
  'ERR_STREAM_DESTROYED',
  'ERR_STREAM_PREMATURE_CLOSE',
]);

function ofSystem(error: Foreign): Judgement | undefined {
  let at: unknown = error;
  for (let i = 0; i < MAX_CAUSES && isError(at); i += 1) {
    const { code, syscall } = at as { code?: unknown; syscall?: unknown };
    if (typeof code === 'string') {
      const detail =
        at === error || at.message === '' ? error.message || code : `${error.message}: ${at.message}`;
      const data = { cause: code };
      if (typeof syscall === 'string' && syscall.startsWith('spawn')) return ofSpawn(at, code, data);
      if (NEVER_SENT.has(code)) return { code: 'unavailable', delivery: 'unsent', detail, data };
      if (MAYBE_SENT.has(code)) return { code: 'connection_lost', delivery: 'sent', detail, data };
    }
    at = at.cause;
  }
  return error.message === 'fetch failed' ? { code: 'connection_lost', delivery: 'sent' } : undefined;
}

function ofSpawn(error: Error, code: string, data: unknown): Judgement {
  const { path } = error as { path?: unknown };
  const command = typeof path === 'string' ? path : 'the command';
  const remedy =
    code === 'ENOENT'
      ? 'is not found: check `command`, PATH and `cwd`'
      : code === 'EACCES' || code === 'EPERM'
        ? 'may not be executed: check its permissions'
        : `could not be started (${code})`;
  return { code: 'unavailable', delivery: 'unsent', detail: `${command} ${remedy}`, data };
}

import { plain } from './plain.ts';

/** The message layer of MCP: JSON-RPC 2.0, as it stands on the wire. */
export type RequestId = string | number;
export type Json = Readonly<Record<string, unknown>>;

export interface RpcRequest {
  readonly jsonrpc: '2.0';
  readonly id: RequestId;
  readonly method: string;
  readonly params?: Json | undefined;
}

export interface RpcNotification {
  readonly jsonrpc: '2.0';
  readonly method: string;
  readonly params?: Json | undefined;
}

export interface RpcResult {
  readonly jsonrpc: '2.0';
  readonly id: RequestId;
  readonly result: Json;
}

export interface RpcError {
  readonly jsonrpc: '2.0';
  readonly id?: RequestId | null | undefined;
  readonly error: { readonly code: number; readonly message: string; readonly data?: unknown };
}

export type RpcMessage = RpcRequest | RpcNotification | RpcResult | RpcError;

export function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Params of a tool or prompt without arguments, and with some. */
export const NamedParams = plain<new (name: string) => Json>(function (name) {
  this['name'] = name;
});

export const CallParams = plain<new (name: string, args: Json) => Json>(function (name, args) {
  this['name'] = name;
  this['arguments'] = args;
});

/** A request with params. */
export const RequestMessage = plain<new (id: RequestId, method: string, params: Json) => RpcRequest>(
  function (id, method, params) {
    this['jsonrpc'] = '2.0';
    this['id'] = id;
    this['method'] = method;
    this['params'] = params;
  },
);

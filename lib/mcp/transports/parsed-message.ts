import { isJson } from '../../core/json-rpc.ts';
import type { RequestId, RpcMessage } from '../../core/json-rpc.ts';

/**
 * What is wrong with a message that came as an object, from a transport that is not ours; undefined when it has the
 * outline of JSON-RPC 2.0. `id` is given when it is the answer to a request, which then has no other.
 */
export function faultOf(value: unknown): { readonly text: string; readonly id?: RequestId } | undefined {
  if (!isJson(value)) return { text: 'something that is not an object' };
  const { jsonrpc, id, method, params, result, error } = value as Partial<Record<keyof AnyMessage, unknown>>;
  const isId = typeof id === 'string' || typeof id === 'number';
  if (method !== undefined) {
    if (typeof method !== 'string') return { text: 'a method that is not a string' };
    if (jsonrpc !== '2.0') return { text: 'a message without `jsonrpc: "2.0"`' };
    if (id !== undefined && !isId) return { text: 'a request with an id that is neither string nor number' };
    return params === undefined || isJson(params) ? undefined : { text: 'params that are not an object' };
  }
  const fault = (text: string): { readonly text: string; readonly id?: RequestId } =>
    isId ? { text, id } : { text };
  if (jsonrpc !== '2.0') return fault('a message without `jsonrpc: "2.0"`');
  if (error !== undefined) {
    const { code, message } = isJson(error) ? error : {};
    const isError = Number.isInteger(code) && typeof message === 'string' && result === undefined;
    return isError ? undefined : fault('an error without integer code and message');
  }
  return isJson(result) && isId ? undefined : fault('neither a method, a result nor an error');
}

interface AnyMessage {
  jsonrpc: unknown;
  id: unknown;
  method: unknown;
  params: unknown;
  result: unknown;
  error: unknown;
}

/** The id of a request that a message answers, or undefined. */
export function answeredId(message: RpcMessage): RequestId | undefined {
  return 'method' in message || message.id === null ? undefined : message.id;
}

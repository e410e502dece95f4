import { isJson } from '../../core/json-rpc.ts';

/**
 * The headers that mirror a modern request on HTTP: `Mcp-Method` on all, `Mcp-Name` where something is named, and
 * `Mcp-Param-*` for tool parameters that carry `x-mcp-header` (protocol 2026-07-28, transports).
 */
interface ParamHeader {
  readonly path: readonly string[];
  readonly header: string;
}

const PREFIX = 'Mcp-Param-';

/** Parameters of a tool that are mirrored into headers; tools with invalid declarations were left out by the list. */
export function paramHeaders(inputSchema: unknown): readonly ParamHeader[] {
  const found: ParamHeader[] = [];
  const visit = (schema: unknown, path: readonly string[]): void => {
    if (!isJson(schema) || path.length > 32) return;
    const header = schema['x-mcp-header'];
    if (typeof header === 'string' && path.length > 0) found.push({ path, header: PREFIX + header });
    const properties = schema['properties'];
    if (isJson(properties))
      for (const [key, child] of Object.entries(properties)) visit(child, [...path, key]);
  };
  visit(inputSchema, []);
  return found;
}

export function paramHeaderValues(declared: readonly ParamHeader[], args: unknown): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const { path, header } of declared) {
    let value: unknown = args;
    for (const key of path) value = isJson(value) && Object.hasOwn(value, key) ? value[key] : undefined;
    const text = primitiveText(value);
    if (text !== undefined) headers[header] = headerValue(text);
  }
  return headers;
}

function primitiveText(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean') return String(value);
  if (typeof value !== 'number' || !Number.isFinite(value)) return undefined;
  return Number.isInteger(value) && !Number.isSafeInteger(value) ? undefined : String(value);
}

/** Text as a header value: what is not plain ASCII, or could be mistaken for the sentinel, is sent as `=?base64?…?=`. */
export function headerValue(text: string): string {
  const plain = /^[\u0021-\u007e](?:[\t\u0020-\u007e]*[\u0021-\u007e])?$/.test(text);
  const sentinel = text.startsWith('=?base64?') && text.endsWith('?=');
  return plain && !sentinel ? text : `=?base64?${Buffer.from(text, 'utf8').toString('base64')}?=`;
}

import { isJson } from '../core/json-rpc.ts';
import { quoted } from './name-text.ts';

/**
 * What protocol 2026-07-28 asks of `x-mcp-header` in the input schema of a tool (SEP-2243): on properties only that
 * are reached through `properties` alone, of type string, integer or boolean; a header token; unique without regard
 * to case. A tool that breaks one of them must not be listed over HTTP.
 */

const KEY = 'x-mcp-header';
/** RFC 9110 §5.6.2 `token`. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const TYPES: ReadonlySet<unknown> = new Set(['string', 'integer', 'boolean']);

/** Keywords with one sub-schema or an array of them. */
const NESTED: ReadonlySet<string> = new Set([
  'items',
  'prefixItems',
  'contains',
  'additionalProperties',
  'unevaluatedProperties',
  'unevaluatedItems',
  'propertyNames',
  'oneOf',
  'anyOf',
  'allOf',
  'not',
  'if',
  'then',
  'else',
]);
/** Keywords with sub-schemas by name. */
const NESTED_BY_NAME: ReadonlySet<string> = new Set([
  'patternProperties',
  'dependentSchemas',
  '$defs',
  'definitions',
]);

/** Nodes looked at; a schema of 256 KB has fewer. Also ends the walk in a schema that contains itself. */
const MAX_NODES = 20_000;

interface Visit {
  readonly schema: unknown;
  readonly path: string;
  readonly reachable: boolean;
}

/** The first rule broken, in words, or nothing. */
export function brokenParamHeader(inputSchema: unknown): string | undefined {
  const seen = new Map<string, string>();
  const stack: Visit[] = [{ schema: inputSchema, path: '', reachable: false }];
  let nodes = 0;
  for (let visit = stack.pop(); visit !== undefined; visit = stack.pop()) {
    const { schema, path } = visit;
    if (!isJson(schema)) continue;
    if ((nodes += 1) > MAX_NODES) return `inputSchema has more than ${MAX_NODES} sub-schemas`;
    const reachable = visit.reachable || path === '';
    for (const keyword of Object.keys(schema)) {
      const value = schema[keyword];
      if (keyword === KEY) {
        const broken = brokenRule(schema, visit, seen);
        if (broken !== undefined) return broken;
      } else if (typeof value !== 'object' || value === null) {
        continue;
      } else if (keyword === 'properties') {
        for (const [name, child] of Object.entries(value)) {
          stack.push({ schema: child, path: path === '' ? name : `${path}.${name}`, reachable });
        }
      } else if (NESTED.has(keyword)) {
        pushUnreachable(stack, Array.isArray(value) ? value : [value], `${path}<${keyword}>`);
      } else if (NESTED_BY_NAME.has(keyword)) {
        pushUnreachable(stack, Object.values(value), `${path}<${keyword}>`);
      }
    }
  }
  return undefined;
}

function pushUnreachable(stack: Visit[], schemas: readonly unknown[], path: string): void {
  for (const schema of schemas) stack.push({ schema, path, reachable: false });
}

function brokenRule(
  schema: Readonly<Record<string, unknown>>,
  { path, reachable }: Visit,
  seen: Map<string, string>,
): string | undefined {
  const at = path === '' ? 'the root of inputSchema' : quoted(path);
  if (!reachable) return `${KEY} at ${at} is not reached through "properties" alone`;
  const header = schema[KEY];
  if (typeof header !== 'string' || !TOKEN.test(header)) return `${KEY} at ${at} is not a header token`;
  const { type } = schema;
  if (!TYPES.has(type)) return `${KEY} at ${at} stands on a type other than string, integer or boolean`;
  const key = header.toLowerCase();
  const other = seen.get(key);
  if (other !== undefined) return `${KEY} ${quoted(header)} at ${at} is declared at ${other} too`;
  seen.set(key, at);
  return undefined;
}

import type { Request } from '../core/request.ts';

/** Keys of `_meta` that say who follows the request, not what is asked: two requests that differ in them are alike. */
const ASIDE: ReadonlySet<string> = new Set(['progressToken', 'traceparent', 'tracestate', 'baggage']);

/**
 * One text for all requests that ask the same of the same server: method and parameters, whatever their order.
 * Whose request it is, is not in it. `undefined` where the parameters cannot be written as JSON.
 */
export function requestKey(request: Request): string | undefined {
  try {
    return `${request.server ?? ''}\n${request.method}\n${canonical(request.params, true)}\n${canonical(request.meta, false, true)}`;
  } catch {
    // A cycle, a BigInt, nesting beyond the stack: whoever sends it will say what is wrong with it.
    return undefined;
  }
}

/** JSON with sorted keys; what JSON leaves out is left out. */
function canonical(value: unknown, isParams = false, isMeta = false): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? '';
  const { toJSON } = value as { toJSON?: unknown };
  if (typeof toJSON === 'function') return canonical(JSON.parse(JSON.stringify(value)));
  if (Array.isArray(value)) return `[${value.map((item) => canonical(item) || 'null').join(',')}]`;
  let text = '';
  for (const key of Object.keys(value).sort()) {
    if (isMeta && ASIDE.has(key)) continue;
    const item = canonical((value as Record<string, unknown>)[key], false, isParams && key === '_meta');
    if (item !== '') text += `${text === '' ? '' : ','}${JSON.stringify(key)}:${item}`;
  }
  return isMeta && text === '' ? '' : `{${text}}`;
}

import { invalid, kindOf, type Fields } from './fields.ts';

/** `remote` (opencode) leaves open which of the three. */
export type DeclaredType = 'stdio' | 'http' | 'sse' | 'websocket' | 'remote';

/** The names hosts give to the same four things (`protocol` §6.2). */
const TYPES: ReadonlyMap<string, DeclaredType> = new Map<string, DeclaredType>([
  ['stdio', 'stdio'],
  ['local', 'stdio'],
  ['http', 'http'],
  ['streamable-http', 'http'],
  ['streamableHttp', 'http'],
  ['streamable_http', 'http'],
  ['sse', 'sse'],
  ['ws', 'websocket'],
  ['websocket', 'websocket'],
  ['remote', 'remote'],
]);

export function readType(fields: Fields): DeclaredType | undefined {
  const key = fields.get('type') === undefined ? 'transportType' : 'type';
  const written = fields.get(key);
  if (written === undefined) return undefined;
  const type = typeof written === 'string' ? TYPES.get(written) : undefined;
  if (type !== undefined) return type;
  const shown =
    typeof written === 'string' && written.length <= 40 ? JSON.stringify(written) : kindOf(written);
  throw invalid(fields.place(key), `is ${shown}`, 'choose one of stdio, http, sse, ws, or leave it out');
}

export function expectType(
  fields: Fields,
  declared: DeclaredType | undefined,
  found: string,
  allowed: readonly string[],
  target: string,
): void {
  if (declared === undefined || allowed.includes(declared)) return;
  throw invalid(
    fields.place('type'),
    `is ${declared}, but ${target} means ${found}`,
    'correct one of the two',
  );
}

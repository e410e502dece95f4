import { isObject, invalid, kindOf, own, type At, type Origin, type Path, type Unknowns } from './fields.ts';
import { looksLikeServer } from './target.ts';

export interface ServerEntry {
  readonly name: string;
  readonly value: unknown;
  /** Where it stands in the document. */
  readonly path: Path;
}

/** What was found where, whatever the host that wrote the file. */
export interface Shape {
  readonly entries: readonly ServerEntry[];
  /** `inputs` of VS Code, as written. */
  readonly inputs: { readonly value: unknown; readonly path: Path } | undefined;
  /** The object that carries the engine's own options. `undefined`: the file is another program's settings, or a bare map. */
  readonly options: Unknowns | undefined;
  /** Keys of `options` that were read here. */
  readonly taken: readonly string[];
}

const ROOTS = ['servers', 'mcpServers'] as const;
const REMEDY = 'give mcpServers or servers: { name: { command | url | … } }';

/** Finds the servers in every shape of `protocol` §6.2: `mcpServers`, `servers`, `mcp.servers`, opencode's `mcp`, a bare map. */
export function findServers(root: unknown, origin: Origin): Shape {
  const at: At = { origin, server: undefined, base: [], path: [] };
  if (!isObject(root)) throw invalid(at, `the configuration is ${kindOf(root)}`, REMEDY);
  const roots = ROOTS.filter((key) => isServerMap(own(root, key), at, key));
  if (roots.length > 0) {
    const entries = roots.flatMap((key) => entriesOf(own(root, key), [key], at));
    return {
      entries: unique(entries, at),
      inputs: inputsOf(root, []),
      options: root,
      taken: [...roots, 'inputs', '$schema'],
    };
  }
  const dotted = own(root, 'mcp.servers');
  if (isObject(dotted)) {
    return {
      entries: entriesOf(dotted, ['mcp.servers'], at),
      inputs: inputsOf(root, []),
      options: undefined,
      taken: [],
    };
  }
  const mcp = own(root, 'mcp');
  if (isObject(mcp) && !looksLikeServer(mcp)) return settingsShape(mcp, at);
  if (isBareMap(root)) {
    return { entries: entriesOf(root, [], at), inputs: undefined, options: undefined, taken: [] };
  }
  // Only options of ours, such as `{ naming: 'transparent' }`: an engine without servers yet.
  if (origin.file === undefined) return { entries: [], inputs: undefined, options: root, taken: [] };
  throw invalid(at, 'no servers are found', REMEDY);
}

/** `settings.json` of VS Code (`mcp: { servers, inputs }`) or `opencode.json` (`mcp: { name: … }`). */
function settingsShape(mcp: Unknowns, at: At): Shape {
  const roots = ROOTS.filter((key) => isServerMap(own(mcp, key), at, `mcp.${key}`));
  const entries =
    roots.length > 0
      ? roots.flatMap((key) => entriesOf(own(mcp, key), ['mcp', key], at))
      : entriesOf(mcp, ['mcp'], at);
  return {
    entries: unique(entries, at),
    inputs: roots.length > 0 ? inputsOf(mcp, ['mcp']) : undefined,
    options: undefined,
    taken: [],
  };
}

function isServerMap(value: unknown, at: At, key: string): boolean {
  if (value === undefined || value === null) return false;
  if (value instanceof Map || Array.isArray(value)) return true;
  if (!isObject(value)) throw invalid({ ...at, path: [key] }, `is ${kindOf(value)}`, REMEDY);
  // A bare map may hold a server that is called `servers`.
  return !looksLikeServer(value);
}

function isBareMap(root: Unknowns): boolean {
  const values = Object.keys(root)
    .filter((key) => key !== '$schema')
    .map((key) => root[key]);
  return values.length > 0 && values.every(looksLikeServer);
}

function inputsOf(root: Unknowns, path: Path): Shape['inputs'] {
  const value = own(root, 'inputs');
  return value === undefined || value === null ? undefined : { value, path: [...path, 'inputs'] };
}

function entriesOf(value: unknown, path: Path, at: At): ServerEntry[] {
  if (Array.isArray(value)) {
    return value.map((item: unknown, i) => {
      const name = isObject(item) ? own(item, 'name') : undefined;
      if (typeof name === 'string') return { name, value: item, path: [...path, i] };
      throw invalid(
        { ...at, path: [...path, i] },
        'has no name',
        'give a name, or servers as an object by name',
      );
    });
  }
  const pairs =
    value instanceof Map ? [...(value as Map<unknown, unknown>)] : Object.entries(value as Unknowns);
  return pairs
    .filter(([name]) => path.length > 0 || name !== '$schema')
    .map(([name, item]) => {
      if (typeof name === 'string') return { name, value: item, path: [...path, name] };
      throw invalid({ ...at, path }, 'has a name that is no text', 'name servers by texts');
    });
}

function unique(entries: readonly ServerEntry[], at: At): readonly ServerEntry[] {
  const seen = new Map<string, ServerEntry>();
  for (const entry of entries) {
    if (seen.has(entry.name)) {
      const where: At = { ...at, server: entry.name, base: entry.path, path: [] };
      throw invalid(where, 'is configured twice', 'keep one, or rename one');
    }
    seen.set(entry.name, entry);
  }
  return entries;
}

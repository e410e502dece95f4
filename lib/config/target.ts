import { isObject, type Unknowns } from './fields.ts';

/** Keys that say where a server is. */
export const PLACE_KEYS = [
  'type',
  'transportType',
  'command',
  'args',
  'env',
  'environment',
  'envFile',
  'cwd',
  'inheritEnv',
  'url',
  'serverUrl',
  'httpUrl',
  'headers',
  'server',
  'transport',
] as const;

/** Keys that name the one thing a server is; exactly one of them is given. */
export const TARGET_KEYS = ['command', 'url', 'serverUrl', 'httpUrl', 'server', 'transport'] as const;
export const URL_KEYS = ['url', 'serverUrl', 'httpUrl'] as const;

function namesTarget(value: Unknowns): boolean {
  return TARGET_KEYS.some(
    (key) => Object.hasOwn(value, key) && value[key] !== undefined && value[key] !== null,
  );
}

/** Whether a value can be the entry of one server, as opposed to a map of servers. */
export function looksLikeServer(value: unknown): boolean {
  if (!isObject(value)) return false;
  const text = (key: string): boolean => Object.hasOwn(value, key) && typeof value[key] === 'string';
  const call = (key: string): boolean => Object.hasOwn(value, key) && typeof value[key] === 'function';
  return (
    text('command') ||
    URL_KEYS.some(text) ||
    (Object.hasOwn(value, 'url') && value['url'] instanceof URL) ||
    call('server') ||
    call('transport') ||
    ['command', 'replicas', 'tiers'].some((key) => Object.hasOwn(value, key) && Array.isArray(value[key]))
  );
}

const PROGRAM_KEYS: readonly string[] = ['args', 'env', 'environment', 'envFile', 'cwd', 'inheritEnv'];

/** What a server's fields can mean for a replica that names its own target. */
function sharedKeys(server: Unknowns, replica: Unknowns): readonly string[] {
  const kinds = Object.hasOwn(replica, 'command')
    ? PROGRAM_KEYS
    : URL_KEYS.some((k) => Object.hasOwn(replica, k))
      ? ['headers']
      : [];
  // Beside a target of the server, `args` and `type` belong to that target.
  return namesTarget(server) ? kinds.filter((key) => key !== 'args') : [...kinds, 'type', 'transportType'];
}

/**
 * Fields of a server hold for its replicas: `env` and `headers` are joined, others are replaced. A replica that names
 * a target of its own takes only what can mean something there.
 */
export function inherited(server: Unknowns, replica: Unknowns): Unknowns {
  const result = Object.create(null) as Record<string, unknown>;
  for (const key of namesTarget(replica) ? sharedKeys(server, replica) : PLACE_KEYS) {
    if (Object.hasOwn(server, key)) result[key] = server[key];
  }
  for (const key of Object.keys(replica)) {
    const [above, value] = [result[key], replica[key]];
    const joined =
      (key === 'env' || key === 'environment' || key === 'headers') && isObject(above) && isObject(value);
    result[key] = joined ? join(above, value, key === 'headers') : value;
  }
  return result;
}

function join(above: Unknowns, value: Unknowns, ignoreCase: boolean): Unknowns {
  const name = (key: string): string => (ignoreCase ? key.toLowerCase() : key);
  const replaced = new Set(Object.keys(value).map(name));
  const kept = Object.entries(above).filter(([key]) => !replaced.has(name(key)));
  return Object.assign(Object.create(null) as Record<string, unknown>, Object.fromEntries(kept), value);
}

/** `kind`, `flavour` and a flat place back into the words of the input: for a `ResolvedServer` that was spread and changed. */
export function placeAsInput(where: Unknowns): Unknowns {
  const { kind, flavour, ...rest } = where;
  if (kind === 'http') return { ...rest, ...(flavour === 'auto' ? {} : { type: flavour }) };
  return rest;
}

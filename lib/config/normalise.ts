import { isTroupeError, TroupeError } from '../core/errors.ts';
import type { Config, EngineConfig, ResolvedServer, ServerConfig } from './config.ts';
import { checkCircles, checkNamed, type PlaceOf } from './equivalents.ts';
import { below, Fields, invalid, nearest, own, type At } from './fields.ts';
import { readingOfObject, type Reading } from './reading.ts';
import { readServer } from './server.ts';
import { extensionsOf, readServerDefaults, readSettings } from './settings.ts';
import { findServers, type Shape } from './shape.ts';

export interface NormaliseOptions {
  /** Names of the strategies there are. Default: not checked. */
  readonly strategies?: readonly string[] | undefined;
}

const made = new WeakSet<object>();

export function isConfig(value: unknown): value is Config {
  return typeof value === 'object' && value !== null && made.has(value);
}

/**
 * What `createEngine` is given → one frozen `Config` with every value filled. A `Config` comes back as it is; one that
 * was spread into a new object keeps its servers. Throws `config_invalid` naming server, field and remedy, and nothing else.
 */
export function normalise(input: EngineConfig | Config, options: NormaliseOptions = {}): Config {
  return onlyTroupeErrors(() => {
    if (!isConfig(input)) {
      const reading = readingOfObject(options.strategies);
      return normaliseShape(findServers(input, reading.origin), reading);
    }
    if (options.strategies !== undefined) {
      for (const server of input.servers) checkStrategy(server, options.strategies);
    }
    return input;
  });
}

/** The same configuration with one more server. Throws when the name is taken. */
export function withServer(
  config: Config,
  name: string,
  server: ServerConfig,
  options: NormaliseOptions = {},
): Config {
  return onlyTroupeErrors(() => {
    const reading = readingOfObject(options.strategies);
    const at: At = { origin: reading.origin, server: name, base: [], path: [] };
    if (config.servers.some((other) => other.name === name)) {
      throw invalid(at, 'is configured already', 'remove it first, or reconfigure');
    }
    const added = readServer(name, server, config, reading);
    if (added === undefined) return config;
    if (options.strategies !== undefined) checkStrategy(added, options.strategies);
    const servers = [...config.servers, added];
    const placeOf: PlaceOf = (other) => ({ ...at, server: other.name });
    checkNamed([added], new Set(servers.map((other) => other.name)), new Set(), reading, placeOf);
    checkCircles(servers, placeOf);
    return seal({
      ...config,
      servers: Object.freeze(servers),
      warnings: frozenWarnings(config.warnings, reading),
    });
  });
}

/** The same configuration without a server; others may go on naming it in `equivalentTo`. */
export function withoutServer(config: Config, name: string): Config {
  const servers = config.servers.filter((server) => server.name !== name);
  return servers.length === config.servers.length
    ? config
    : seal({ ...config, servers: Object.freeze(servers) });
}

export function normaliseShape(shape: Shape, reading: Reading): Config {
  const options = new Fields(shape.options ?? {}, {
    origin: reading.origin,
    server: undefined,
    base: [],
    path: [],
  });
  for (const key of [...shape.taken, 'warnings', 'extensions']) options.raw(key);
  const base = readServerDefaults(options);
  const settings = readSettings(options, reading);

  const servers: ResolvedServer[] = [];
  const disabled = new Set<string>();
  const places = new Map<string, At>();
  for (const entry of shape.entries) {
    places.set(entry.name, { origin: reading.origin, server: entry.name, base: entry.path, path: [] });
    const server = readServer(entry.name, entry.value, base, reading, entry.path);
    if (server === undefined) disabled.add(entry.name);
    else {
      servers.push(server);
      if (reading.strategies !== undefined) checkStrategy(server, reading.strategies, places.get(entry.name));
    }
  }
  const placeOf: PlaceOf = (server) => places.get(server.name) ?? { ...options.at, server: server.name };
  checkNamed(servers, new Set(servers.map((server) => server.name)), disabled, reading, placeOf);
  checkCircles(servers, placeOf);

  const extensions = extensionsOf(shape, options, reading);
  const before = shape.options === undefined ? undefined : own(shape.options, 'warnings');
  return seal({
    servers: Object.freeze(servers),
    ...settings,
    ...base,
    warnings: frozenWarnings(
      Array.isArray(before) ? before.filter((w) => typeof w === 'string') : [],
      reading,
    ),
    extensions,
  });
}

function seal(config: Config): Config {
  const sealed = Object.freeze(config);
  made.add(sealed);
  return sealed;
}

function frozenWarnings(before: readonly string[], reading: Reading): readonly string[] {
  return Object.freeze([...new Set([...before, ...reading.warnings])]);
}

/** Getters that throw, proxies, exhausted stacks: whatever the input does, the caller sees one kind of error. */
export function onlyTroupeErrors<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (isTroupeError(error)) throw error;
    throw new TroupeError('config_invalid', 'the configuration cannot be read; give plain data', {
      cause: error,
    });
  }
}

function checkStrategy(server: ResolvedServer, strategies: readonly string[], at?: At): void {
  const { strategy } = server.routing;
  if (typeof strategy !== 'string' || strategies.includes(strategy)) return;
  const place = at ?? {
    origin: { file: undefined, lineOf: () => undefined },
    server: server.name,
    base: [],
    path: [],
  };
  const guess = nearest(strategy, strategies);
  throw invalid(
    below(place, 'routing', 'strategy'),
    'names an unknown strategy',
    guess === undefined ? `choose one of ${strategies.join(', ')}` : `did you mean ${guess}?`,
  );
}

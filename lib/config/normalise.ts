import { isTroupeError, TroupeError } from '../core/errors.ts';
import type { Interceptor } from '../core/interceptor.ts';
import type { Json } from '../core/json-rpc.ts';
import type { Principal } from '../core/request.ts';
import type {
  AuditConfig,
  Config,
  EngineConfig,
  Host,
  Naming,
  PolicyConfig,
  ResolvedServer,
  Root,
  ServerConfig,
} from './config.ts';
import * as defaults from './defaults.ts';
import { below, Fields, invalid, isObject, kindOf, nearest, own, type At } from './fields.ts';
import { defaultsOf, readCache, readGroup, readRestart, readStop } from './groups.ts';
import { absolute, expanded, readingOfObject, type Reading } from './reading.ts';
import { readServer, SERVER_DEFAULTS, type ServerDefaults } from './server.ts';
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

// ── the engine's own options ────────────────────────────────────────────────────────────────────────────────────

function readServerDefaults(options: Fields): ServerDefaults {
  return {
    timeoutMs: options.number('timeoutMs', defaults.timeoutMs) ?? SERVER_DEFAULTS.timeoutMs,
    startTimeoutMs:
      options.number('startTimeoutMs', defaults.startTimeoutMs) ?? SERVER_DEFAULTS.startTimeoutMs,
    listTimeoutMs: options.number('listTimeoutMs', defaults.listTimeoutMs) ?? SERVER_DEFAULTS.listTimeoutMs,
    cache: readCache(options, SERVER_DEFAULTS.cache),
    limits: readGroup(options, 'limits', defaults.limits, SERVER_DEFAULTS.limits),
    restart: readRestart(options, SERVER_DEFAULTS.restart),
    stop: readStop(options, SERVER_DEFAULTS.stop),
  };
}

type Settings = Omit<Config, 'servers' | 'warnings' | 'extensions' | keyof ServerDefaults>;

function readSettings(options: Fields, reading: Reading): Settings {
  const stateDir = options.text('stateDir');
  return {
    naming: readNaming(options),
    host: readHost(options, reading),
    interceptors: readInterceptors(options),
    policy: readPolicy(options),
    principal: readPrincipal(options),
    secure: options.boolean('secure') ?? false,
    audit: readAudit(options, reading),
    pool: readGroup(options, 'pool', defaults.pool, defaultsOf(defaults.pool)),
    startConcurrency:
      options.number('startConcurrency', defaults.startConcurrency) ?? defaults.startConcurrency.value,
    stateDir:
      stateDir === undefined
        ? undefined
        : absolute(expanded(stateDir, options.place('stateDir'), reading), reading),
    clock: readPort(options, 'clock', [
      'now',
      'wallTime',
      'after',
      'deadline',
      'cancelDeadline',
    ]) as Config['clock'],
    random: options.callable('random') as Config['random'],
    logger: readPort(options, 'logger', ['debug', 'info', 'warn', 'error']) as Config['logger'],
  };
}

function readNaming(options: Fields): Naming {
  if (typeof options.get('naming') === 'function') return options.callable('naming') as Naming;
  return options.oneOf('naming', ['prefixed', 'transparent'] as const) ?? 'prefixed';
}

const HOST_KEYS = ['sample', 'elicit', 'roots', 'log', 'capabilities'] as const;

function readHost(options: Fields, reading: Reading): Host {
  const fields = options.fields('host');
  if (fields === undefined) return Object.freeze({});
  const roots = fields.get('roots');
  const host: Record<(typeof HOST_KEYS)[number], unknown> = {
    sample: fields.callable('sample'),
    elicit: fields.callable('elicit'),
    roots: Array.isArray(roots) ? readRoots(roots, fields.place('roots'), reading) : fields.callable('roots'),
    log: fields.callable('log'),
    capabilities: fields.object('capabilities'),
  };
  fields.nothingElse();
  const given = Object.entries(host).filter(([, value]) => value !== undefined);
  return Object.freeze(Object.fromEntries(given));
}

function readRoots(roots: readonly unknown[], at: At, reading: Reading): readonly Root[] {
  return Object.freeze(
    roots.map((item, i) => {
      const fields = new Fields(
        typeof item === 'string' ? { uri: item } : item,
        below(at, i),
        'give { uri, name? }',
      );
      const uri = fields.text('uri');
      if (uri === undefined) throw invalid(fields.place('uri'), 'is missing', 'give a file: URI');
      const expandedUri = expanded(uri, fields.place('uri'), reading);
      if (!expandedUri.startsWith('file://')) {
        throw invalid(fields.place('uri'), 'is no file: URI', 'begin with file:// (pathToFileURL makes one)');
      }
      const name = fields.text('name');
      return Object.freeze({ ...fields.rest(), uri: expandedUri, ...(name === undefined ? {} : { name }) });
    }),
  );
}

function readInterceptors(options: Fields): readonly Interceptor[] {
  const value = options.get('interceptors');
  if (value === undefined) return Object.freeze([]);
  const at = options.place('interceptors');
  if (!Array.isArray(value)) throw invalid(at, `is ${kindOf(value)}`, 'give a list of interceptors');
  return Object.freeze(
    value.map((item: unknown, i) => {
      if (typeof item === 'function') return item as Interceptor;
      throw invalid(
        below(at, i),
        `is ${kindOf(item)}`,
        'give a function: (next) => (request) => next(request)',
      );
    }),
  );
}

function readPolicy(options: Fields): PolicyConfig | undefined {
  const value = options.get('policy');
  if (value === undefined || typeof value === 'function' || typeof value === 'object')
    return value as PolicyConfig | undefined;
  throw invalid(options.place('policy'), `is ${kindOf(value)}`, 'give rules or a function');
}

function readAudit(options: Fields, reading: Reading): AuditConfig | undefined {
  const value = options.get('audit');
  if (value === undefined || value === false) return undefined;
  if (value === true) return Object.freeze({});
  if (typeof value === 'object' || typeof value === 'function') return value as AuditConfig;
  const file = options.text('audit') as string;
  return Object.freeze({ file: absolute(expanded(file, options.place('audit'), reading), reading) });
}

function readPrincipal(options: Fields): Principal | undefined {
  const value = options.get('principal');
  if (value === undefined) return undefined;
  const at = options.place('principal');
  const fields = new Fields(
    typeof value === 'string' ? { id: value } : value,
    at,
    'give an id, or { id, roles?, tenant? }',
  );
  const id = fields.text('id');
  if (id === undefined) throw invalid(fields.place('id'), 'is missing', 'say on whose behalf');
  const [roles, capabilities, tenant] = [
    fields.texts('roles'),
    fields.texts('capabilities'),
    fields.text('tenant'),
  ];
  return Object.freeze({
    ...fields.rest(),
    id,
    ...(roles === undefined ? {} : { roles }),
    ...(capabilities === undefined ? {} : { capabilities }),
    ...(tenant === undefined ? {} : { tenant }),
  });
}

/** A port stays the object it is: its methods may need their `this`. */
function readPort(options: Fields, key: string, methods: readonly string[]): unknown {
  const value = options.get(key);
  if (value === undefined) return undefined;
  const port = value as Readonly<Record<string, unknown>>;
  const missing =
    typeof value === 'object' ? methods.find((method) => typeof port[method] !== 'function') : methods[0];
  if (missing !== undefined) {
    throw invalid(
      options.place(key),
      `has no method ${missing}`,
      `give an object with ${methods.join(', ')}`,
    );
  }
  return value;
}

const ENGINE_KEYS = defaults.OPTION_ROWS.filter((row) => row.scope.startsWith('engine')).map(
  (row) => row.key.split('.')[0] ?? row.key,
);

function extensionsOf(shape: Shape, options: Fields, reading: Reading): Json {
  const rest = options.rest();
  // A file may be another program's settings, where foreign keys are no accident.
  if (reading.origin.file === undefined) {
    for (const key of Object.keys(rest)) {
      const guess = nearest(key, ENGINE_KEYS);
      if (guess !== undefined) reading.warnings.push(`${key} is not an option; did you mean ${guess}?`);
    }
  }
  const before = shape.options === undefined ? undefined : own(shape.options, 'extensions');
  return isObject(before)
    ? Object.freeze(Object.assign(Object.create(null) as object, before, rest) as Json)
    : rest;
}

// ── what spans servers ──────────────────────────────────────────────────────────────────────────────────────────

function checkStrategy(server: ResolvedServer, strategies: readonly string[], at?: At): void {
  const { strategy } = server.routing;
  if (strategies.includes(strategy)) return;
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

type PlaceOf = (server: ResolvedServer) => At;

function equivalentsInvalid(
  server: ResolvedServer,
  placeOf: PlaceOf,
  problem: string,
  remedy: string,
): TroupeError {
  return invalid(below(placeOf(server), 'equivalentTo'), problem, remedy);
}

/** Who is named in `equivalentTo` exists, or is at least configured. */
function checkNamed(
  checked: readonly ResolvedServer[],
  known: ReadonlySet<string>,
  disabled: ReadonlySet<string>,
  reading: Reading,
  placeOf: PlaceOf,
): void {
  for (const server of checked) {
    for (const name of server.equivalentTo) {
      if (known.has(name)) continue;
      if (disabled.has(name)) {
        reading.warnings.push(`${server.name}: equivalentTo names ${name}, which is disabled`);
        continue;
      }
      const guess = nearest(name, known);
      const remedy = guess === undefined ? 'name a configured server' : `did you mean ${guess}?`;
      throw equivalentsInvalid(
        server,
        placeOf,
        `names ${JSON.stringify(name.slice(0, 60))}, which is no server`,
        remedy,
      );
    }
  }
}

/**
 * `equivalentTo` leads nowhere in a circle: the chain is walked when a server is down. Depth first with an explicit
 * stack, because a chain of servers may be longer than the call stack is deep.
 */
function checkCircles(servers: readonly ResolvedServer[], placeOf: PlaceOf): void {
  const byName = new Map(servers.map((server) => [server.name, server]));
  const finished = new Set<string>();
  for (const start of servers) {
    const path: { readonly server: ResolvedServer; next: number }[] = [{ server: start, next: 0 }];
    const onPath = new Set([start.name]);
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const name = finished.has(top.server.name) ? undefined : top.server.equivalentTo[top.next++];
      if (name === undefined) {
        finished.add(top.server.name);
        onPath.delete(top.server.name);
        path.pop();
        continue;
      }
      if (onPath.has(name)) {
        const circle = [...path.map((step) => step.server.name), name];
        const shown = circle.slice(circle.indexOf(name)).slice(0, 8).join(' → ');
        throw equivalentsInvalid(
          top.server,
          placeOf,
          `leads in a circle: ${shown}`,
          'remove one of the names',
        );
      }
      const server = byName.get(name);
      if (server !== undefined && !finished.has(name)) {
        path.push({ server, next: 0 });
        onPath.add(name);
      }
    }
  }
}

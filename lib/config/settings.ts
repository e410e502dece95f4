import type { Interceptor } from '../core/interceptor.ts';
import type { Json } from '../core/json-rpc.ts';
import type { Principal } from '../core/request.ts';
import type {
  AuditConfig,
  Config,
  Host,
  KeyConfig,
  Naming,
  PinningConfig,
  PolicyConfig,
  Root,
  RouteConfig,
  VaultConfig,
} from './config.ts';
import * as defaults from './defaults.ts';
import { below, Fields, invalid, isObject, kindOf, nearest, own, type At } from './fields.ts';
import { defaultsOf, readCache, readGroup, readRestart, readStop } from './groups.ts';
import { absolute, expanded, type Reading } from './reading.ts';
import { SERVER_DEFAULTS, type ServerDefaults } from './server.ts';
import type { Shape } from './shape.ts';

export function readServerDefaults(options: Fields): ServerDefaults {
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

/** The engine's own options, but for what servers take over. */
export function readSettings(options: Fields, reading: Reading): Settings {
  const stateDir = options.text('stateDir');
  return {
    naming: readNaming(options),
    host: readHost(options, reading),
    interceptors: readInterceptors(options),
    routes: readRoutes(options),
    policy: readPolicy(options),
    principal: readPrincipal(options),
    secure: options.boolean('secure') ?? false,
    audit: readAudit(options, reading),
    pinning: readPinning(options),
    pool: readGroup(options, 'pool', defaults.pool, defaultsOf(defaults.pool)),
    startConcurrency:
      options.number('startConcurrency', defaults.startConcurrency) ?? defaults.startConcurrency.value,
    spawnHelperAboveBytes:
      options.number('spawnHelperAboveBytes', defaults.spawnHelperAboveBytes) ??
      defaults.spawnHelperAboveBytes.value,
    stateDir:
      stateDir === undefined
        ? undefined
        : absolute(expanded(stateDir, options.place('stateDir'), reading), reading),
    vault: readVault(options, stateDir),
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

function readVault(options: Fields, stateDir: string | undefined): VaultConfig | undefined {
  const fields = options.fields('vault');
  if (fields === undefined) return undefined;
  const key = fields.get('key');
  if (key === undefined)
    throw invalid(fields.place('key'), 'is missing', 'give 32 bytes, a function, { env } or { keyring }');
  fields.nothingElse();
  if (stateDir === undefined)
    throw invalid(options.place('vault'), 'has no place to be', 'give stateDir too');
  return Object.freeze({ key });
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

/** The outline only: patterns and server names are checked where the rules are made. */
function readRoutes(options: Fields): readonly RouteConfig[] {
  const value = options.get('routes');
  if (value === undefined) return Object.freeze([]);
  const at = options.place('routes');
  if (!Array.isArray(value)) throw invalid(at, `is ${kindOf(value)}`, 'give a list of { match, to }');
  return Object.freeze([...(value as readonly RouteConfig[])]);
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
  // Whoever looks a policy up and finds none must not get an engine without restrictions for it.
  if (options.raw('policy') === null)
    throw invalid(options.place('policy'), 'is null', 'give rules ([] for none), or leave it out');
  const value = options.get('policy');
  if (value === undefined || typeof value === 'function' || typeof value === 'object')
    return value as PolicyConfig | undefined;
  throw invalid(options.place('policy'), `is ${kindOf(value)}`, 'give rules or a function');
}

function readAudit(options: Fields, reading: Reading): AuditConfig | undefined {
  const value = options.get('audit');
  if (value === undefined || value === false) return undefined;
  if (value === true) return Object.freeze({});
  if (typeof value !== 'string')
    return readAuditFields(
      new Fields(value, options.place('audit'), 'give a file, or { file, key?, onFailure? }'),
      reading,
    );
  const file = options.text('audit') as string;
  return Object.freeze({ file: absolute(expanded(file, options.place('audit'), reading), reading) });
}

const AUDIT_KEYS = ['file', 'key', 'onFailure', 'sync', 'onError', 'onHead'] as const;

function readAuditFields(fields: Fields, reading: Reading): AuditConfig {
  const file = fields.text('file');
  const key = readKey(fields);
  const onFailure = fields.oneOf('onFailure', ['refuse', 'continue'] as const);
  const sync = fields.oneOf('sync', ['none', 'data'] as const);
  const onError = fields.callable('onError') as AuditConfig['onError'];
  const onHead = fields.callable('onHead') as AuditConfig['onHead'];
  refuseRest(fields, AUDIT_KEYS);
  return Object.freeze({
    ...(file === undefined ? {} : { file: absolute(expanded(file, fields.place('file'), reading), reading) }),
    ...(key === undefined ? {} : { key }),
    ...(onFailure === undefined ? {} : { onFailure }),
    ...(sync === undefined ? {} : { sync }),
    ...(onError === undefined ? {} : { onError }),
    ...(onHead === undefined ? {} : { onHead }),
  });
}

function readPinning(options: Fields): PinningConfig | false | undefined {
  const value = options.get('pinning');
  if (value === undefined || value === false) return value;
  if (value === true) return Object.freeze({});
  const fields = new Fields(value, options.place('pinning'), 'give true, false or { firstSight?, key? }');
  const firstSight = fields.oneOf('firstSight', ['trust-on-first-use', 'approve'] as const);
  const key = readKey(fields);
  refuseRest(fields, ['firstSight', 'key']);
  return Object.freeze({
    ...(firstSight === undefined ? {} : { firstSight }),
    ...(key === undefined ? {} : { key }),
  });
}

/** A misspelt option of a security layer must not be a layer that is off. */
function refuseRest(fields: Fields, known: readonly string[]): void {
  const unknown = Object.keys(fields.rest())[0];
  if (unknown !== undefined)
    throw invalid(fields.place(unknown), 'is not an option', `choose one of ${known.join(', ')}`);
}

function readKey(fields: Fields): KeyConfig | undefined {
  const key = fields.get('key');
  if (key === undefined || typeof key === 'string' || typeof key === 'function' || key instanceof Uint8Array)
    return key as KeyConfig | undefined;
  throw invalid(fields.place('key'), `is ${kindOf(key)}`, 'give at least 16 bytes, or a function that does');
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

export function extensionsOf(shape: Shape, options: Fields, reading: Reading): Json {
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

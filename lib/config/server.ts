import type {
  AffinityConfig,
  CacheConfig,
  OwnStrategy,
  Place,
  ResolvedReplica,
  ResolvedServer,
  RestartConfig,
  RoutingConfig,
  StopConfig,
  TiersConfig,
  ToolSelection,
} from './config.ts';
import { plainText } from '../core/errors.ts';
import type { Limits } from '../core/limits.ts';
import { readAuth } from './auth.ts';
import { readTls } from './credentials.ts';
import * as defaults from './defaults.ts';
import {
  below,
  Fields,
  invalid,
  isObject,
  kindOf,
  nearest,
  own,
  type At,
  type Path,
  type Unknowns,
} from './fields.ts';
import {
  CACHE_DEFAULTS,
  defaultsOf,
  readCache,
  readGroup,
  readLayer,
  readRateLimit,
  readRestart,
  readStop,
} from './groups.ts';
import { readPlace } from './place.ts';
import { inherited, PLACE_KEYS, placeAsInput } from './target.ts';
import type { Reading } from './reading.ts';

/** What a server has that does not say otherwise: the engine's own settings. */
export interface ServerDefaults {
  readonly timeoutMs: number;
  readonly startTimeoutMs: number;
  readonly listTimeoutMs: number;
  readonly cache: CacheConfig;
  readonly limits: Limits;
  readonly restart: RestartConfig;
  readonly stop: StopConfig;
}

export const SERVER_DEFAULTS: ServerDefaults = Object.freeze({
  timeoutMs: defaults.timeoutMs.value,
  startTimeoutMs: defaults.startTimeoutMs.value,
  listTimeoutMs: defaults.listTimeoutMs.value,
  cache: CACHE_DEFAULTS,
  limits: defaultsOf(defaults.limits),
  restart: defaultsOf(defaults.restart),
  stop: defaultsOf(defaults.stop),
});

/** Servers made here: whoever hands one back gets the same object, so that `reconfigure` sees what did not change. */
const made = new WeakSet<object>();

function isResolvedServer(value: unknown): value is ResolvedServer {
  return typeof value === 'object' && value !== null && made.has(value);
}

const NAME_REMEDY = 'use 1 to 128 visible characters without "#", and "@" only at the front';
const MAX_NAME = 128;
const MAX_REPLICAS = 1024;

/** Connection ids are `server#replica@scope`: a name must not read like one. */
function checkName(name: string, at: At): void {
  // A name that is not its own plain text contains control characters.
  const bad =
    name === '' ||
    name.length > MAX_NAME ||
    name.trim() !== name ||
    name.includes('#') ||
    plainText(name) !== name;
  if (bad || name.indexOf('@') > 0) throw invalid(at, 'has a name that cannot be used', NAME_REMEDY);
}

/** `undefined`: the server is disabled, and nothing else of it was looked at. */
export function readServer(
  name: string,
  value: unknown,
  base: ServerDefaults,
  reading: Reading,
  path: Path = [],
): ResolvedServer | undefined {
  if (isResolvedServer(value) && value.name === name) return value;
  const at: At = { origin: reading.origin, server: name, base: path, path: [] };
  checkName(name, at);
  const fields = new Fields(value, at, 'give an object with command, url, server, transport or replicas');
  const disabled = fields.boolean('disabled');
  const enabled = fields.boolean('enabled');
  if (disabled === true || enabled === false) return undefined;

  const written = value as Unknowns;
  // A resolved server that was spread and changed says `undefined` for a layer that is off.
  const respread = isRespread(written);
  // Its texts were expanded once already.
  if (respread) reading = { ...reading, scope: undefined };
  const layerDefault = (key: keyof typeof defaults.LAYER_ON): boolean =>
    respread && fields.mentions(key) ? false : defaults.LAYER_ON[key];
  // What `createEngine({ ...config })` carries along and what hosts write beside our own keys.
  for (const key of ['name', 'replicas', 'tiers', 'extensions', ...PLACE_KEYS]) fields.raw(key);

  const flag = (key: keyof typeof defaults.FLAGS): boolean =>
    fields.boolean(key) ?? defaults.FLAGS[key].value;
  const allowInsecure = flag('allowInsecure');
  const server = {
    name,
    replicas: readReplicas(name, written, fields, allowInsecure, reading),
    era: fields.oneOf('era', ['auto', 'legacy', 'modern']) ?? 'auto',
    prior: fields.object('prior'),
    lazy: flag('lazy'),
    pinned: flag('pinned'),
    maxInFlight: fields.number('maxInFlight', defaults.maxInFlight) ?? defaults.maxInFlight.value,
    timeoutMs: fields.number('timeoutMs', defaults.timeoutMs) ?? base.timeoutMs,
    startTimeoutMs: fields.number('startTimeoutMs', defaults.startTimeoutMs) ?? base.startTimeoutMs,
    listTimeoutMs: fields.number('listTimeoutMs', defaults.listTimeoutMs) ?? base.listTimeoutMs,
    routing: readRouting(fields),
    affinity: readAffinity(fields),
    tiers: readTiers(fields),
    equivalentTo: readEquivalents(fields),
    cache: readCache(fields, base.cache),
    retry: readLayer(fields, 'retry', defaults.retry, layerDefault('retry'), ['baseMs', 'capMs']),
    breaker: readLayer(fields, 'breaker', defaults.breaker, layerDefault('breaker'), ['openMs', 'openMaxMs']),
    hedge: readLayer(fields, 'hedge', defaults.hedge, layerDefault('hedge')),
    adaptive: readLayer(fields, 'adaptive', defaults.adaptive, layerDefault('adaptive')),
    batch: readLayer(fields, 'batch', defaults.batch, layerDefault('batch')),
    rateLimit: readRateLimit(fields),
    admission: readGroup(fields, 'admission', defaults.admission, defaultsOf(defaults.admission)),
    outlier: readLayer(fields, 'outlier', defaults.outlier, layerDefault('outlier'), [
      'ejectionMs',
      'ejectionMaxMs',
    ]),
    probe: readLayer(fields, 'probe', defaults.probe, layerDefault('probe')),
    restart: readRestart(fields, base.restart),
    stop: readStop(fields, base.stop),
    limits: readGroup(fields, 'limits', defaults.limits, base.limits),
    auth: readAuth(fields, reading),
    tls: readTls(fields, allowInsecure, reading),
    trusted: flag('trusted'),
    allowInsecure,
    tools: readTools(fields),
  } satisfies Omit<ResolvedServer, 'extensions'>;
  const rest = fields.rest();
  warnAbout(name, rest, reading);
  const extensions = own(written, 'extensions');
  const resolved: ResolvedServer = Object.freeze({
    ...server,
    extensions: isObject(extensions)
      ? Object.freeze(Object.assign(Object.create(null), extensions, rest) as Unknowns)
      : rest,
  });
  made.add(resolved);
  return resolved;
}

function isRespread(written: Unknowns): boolean {
  const replicas = own(written, 'replicas');
  return (
    Array.isArray(replicas) &&
    replicas.length > 0 &&
    replicas.every((r: unknown) => isObject(r) && isObject(own(r, 'where')))
  );
}

// ── replicas ────────────────────────────────────────────────────────────────────────────────────────────────────

function readReplicas(
  name: string,
  written: Unknowns,
  fields: Fields,
  allowInsecure: boolean,
  reading: Reading,
): readonly ResolvedReplica[] {
  const inputs = replicaInputs(written, fields);
  // Copies share one place: it is read, and its files with it, once.
  let place: Place | undefined;
  const self = (): Place => (place ??= readPlace(fields, allowInsecure, reading));
  const replicas = inputs.map(({ value, tier, at }, i) => {
    const settings =
      at === undefined
        ? fields
        : new Fields(value, at, 'give an object with command, url, server or transport');
    const id = inputs.length === 1 ? name : `${name}#${i}`;
    if (at !== undefined) {
      for (const key of ['id', 'where', ...PLACE_KEYS]) settings.raw(key);
    }
    const replica: ResolvedReplica = {
      id,
      where: at === undefined ? self() : readPlace(placeFields(written, value, at), allowInsecure, reading),
      weight: settings.number('weight', defaults.weight) ?? defaults.weight.value,
      tier: settings.number('tier', defaults.tier) ?? tier,
    };
    if (at !== undefined) {
      for (const key of Object.keys(settings.rest())) {
        reading.warnings.push(`${id}: ${key} is not used in a replica; write it beside replicas`);
      }
    }
    return Object.freeze(replica);
  });
  return Object.freeze(replicas);
}

interface ReplicaInput {
  readonly value: Unknowns;
  readonly tier: number;
  /** `undefined`: the server itself is the replica. */
  readonly at: At | undefined;
}

function replicaInputs(written: Unknowns, fields: Fields): ReplicaInput[] {
  const replicas = fields.get('replicas');
  const tiers = fields.get('tiers');
  const self: ReplicaInput = { value: written, tier: defaults.tier.value, at: undefined };
  if (Array.isArray(tiers)) {
    if (replicas !== undefined)
      throw invalid(fields.place('replicas'), 'stands beside tiers', 'list the replicas in one of them');
    const at = fields.place('tiers');
    if (tiers.length === 0) throw invalid(at, 'is an empty list', 'give at least one replica, or remove it');
    if (tiers.length > defaults.tier.max + 1)
      throw invalid(at, 'lists too many tiers', `list at most ${defaults.tier.max + 1}`);
    return tiers.flatMap((members: unknown, tier) => listOfReplicas(members, below(at, tier), tier));
  }
  if (replicas === undefined) return [self];
  const at = fields.place('replicas');
  if (typeof replicas === 'number') {
    if (!Number.isInteger(replicas) || replicas < 1 || replicas > MAX_REPLICAS) {
      throw invalid(at, `is ${replicas}`, `give a number of copies, 1 to ${MAX_REPLICAS}, or a list`);
    }
    return Array.from({ length: replicas }, () => self);
  }
  return listOfReplicas(replicas, at, defaults.tier.value);
}

function listOfReplicas(value: unknown, at: At, tier: number): ReplicaInput[] {
  if (!Array.isArray(value)) throw invalid(at, `is ${kindOf(value)}`, 'give a list of replicas');
  if (value.length === 0) throw invalid(at, 'is an empty list', 'give at least one replica, or remove it');
  if (value.length > MAX_REPLICAS)
    throw invalid(at, `lists ${value.length} replicas`, `list at most ${MAX_REPLICAS}`);
  return value.map((item: unknown, i) => {
    const place = below(at, i);
    if (!isObject(item))
      throw invalid(place, `is ${kindOf(item)}`, 'give an object with command, url, server or transport');
    return { value: item, tier, at: place };
  });
}

function placeFields(server: Unknowns, replica: Unknowns, at: At): Fields {
  const where = own(replica, 'where');
  return new Fields(inherited(server, isObject(where) ? placeAsInput(where) : replica), at);
}

// ── routing ─────────────────────────────────────────────────────────────────────────────────────────────────────

function readRouting(fields: Fields): RoutingConfig {
  const written = fields.get('routing');
  const group =
    typeof written === 'string'
      ? new Fields({ strategy: written }, fields.place('routing'))
      : fields.fields('routing');
  const given = group?.get('strategy');
  const strategy = isObject(given)
    ? ownStrategy(given, group as Fields)
    : (group?.text('strategy') ?? defaults.DEFAULT_STRATEGY);
  const options = group?.object('options');
  return Object.freeze({ strategy, options: Object.freeze({ ...options, ...group?.rest() }) });
}

function ownStrategy(given: Unknowns, group: Fields): OwnStrategy {
  const { name, init, pick } = given;
  if (typeof name === 'string' && name !== '' && typeof init === 'function' && typeof pick === 'function')
    return given as never;
  throw invalid(
    group.place('strategy'),
    'is no strategy',
    'give a name, or an object with name, init and pick',
  );
}

const AFFINITIES = ['tool', 'resource', 'session', 'tenant', 'handle', 'key'] as const;

function readAffinity(fields: Fields): AffinityConfig | undefined {
  const written = fields.get('affinity');
  if (written === undefined || written === false) return undefined;
  const at = fields.place('affinity');
  const short = typeof written === 'string' || typeof written === 'function';
  const group = new Fields(
    short ? { by: written } : written,
    at,
    `give one of ${AFFINITIES.join(', ')}, a function or an object`,
  );
  const by =
    typeof group.get('by') === 'function'
      ? (group.callable('by') as AffinityConfig['by'])
      : group.oneOf('by', AFFINITIES);
  if (by === undefined)
    throw invalid(
      group.place('by'),
      'is missing',
      `choose one of ${AFFINITIES.join(', ')} or give a function`,
    );
  const argument = group.text('argument');
  if (argument !== undefined && !argument.startsWith('/')) {
    throw invalid(group.place('argument'), 'is no JSON pointer', 'begin with "/", such as /session/id');
  }
  if (argument === undefined && by === 'handle') {
    throw invalid(
      group.place('argument'),
      'is missing',
      'say where in the arguments the handle stands, such as /handle',
    );
  }
  // State that a server minted or holds for a session cannot move to another replica.
  const stateful = by === 'handle' || by === 'session';
  const affinity: AffinityConfig = {
    by,
    argument,
    mode: group.oneOf('mode', ['prefer', 'strict']) ?? (stateful ? 'strict' : 'prefer'),
    onLoss: group.oneOf('onLoss', ['fail', 'rehash', 'reinit']) ?? 'fail',
  };
  group.nothingElse();
  return Object.freeze(affinity);
}

function readTiers(fields: Fields): TiersConfig {
  const modes = ['failover', 'proportional'] as const;
  const written = fields.get('tiers');
  const value =
    written === undefined || Array.isArray(written)
      ? {}
      : typeof written === 'string'
        ? { mode: written }
        : written;
  const group = new Fields(
    value,
    fields.place('tiers'),
    `give ${modes.join(' or ')}, or lists of replicas by tier`,
  );
  const tiers: TiersConfig = {
    mode: group.oneOf('mode', modes) ?? 'failover',
    factor: group.number('factor', defaults.tiersFactor) ?? defaults.tiersFactor.value,
  };
  group.nothingElse();
  return Object.freeze(tiers);
}

function readEquivalents(fields: Fields): readonly string[] {
  const written = fields.get('equivalentTo');
  const names = typeof written === 'string' ? [written] : (fields.texts('equivalentTo') ?? []);
  return Object.freeze([...new Set(names)]);
}

// ── tools ───────────────────────────────────────────────────────────────────────────────────────────────────────

function readTools(fields: Fields): ToolSelection {
  const written = fields.get('tools');
  const group = isObject(written) ? new Fields(written, fields.place('tools')) : undefined;
  const include = group === undefined ? fields.texts('tools') : group.texts('include');
  const exclude = group?.texts('exclude');
  group?.nothingElse();
  const included = both(include, fields.texts('includeTools'));
  return Object.freeze({
    include: included === undefined || included.includes('*') ? undefined : Object.freeze(included),
    exclude: Object.freeze(both(exclude, fields.texts('excludeTools')) ?? []),
  });
}

function both(a: readonly string[] | undefined, b: readonly string[] | undefined): string[] | undefined {
  return a === undefined && b === undefined ? undefined : [...new Set([...(a ?? []), ...(b ?? [])])];
}

// ── what is not used ────────────────────────────────────────────────────────────────────────────────────────────

/** Keys of other hosts whose absence someone may rely on noticing. */
const UNUSED: ReadonlyMap<string, string> = new Map([
  ['timeout', 'its unit differs between hosts; write timeoutMs'],
  ['headersHelper', 'no command is run for headers; write headers, with ${env:…} for what is secret'],
  ['sandbox', 'programs are not confined here'],
  ['sandboxEnabled', 'programs are not confined here'],
]);

const KNOWN_KEYS: readonly string[] = [
  ...defaults.OPTION_ROWS.filter((row) => row.scope !== 'engine').flatMap((row) =>
    row.key.split(', ').map((key) => key.split('.')[0] ?? key),
  ),
  'disabled',
  'enabled',
  'serverUrl',
  'httpUrl',
];

function warnAbout(name: string, rest: Unknowns, reading: Reading): void {
  for (const key of Object.keys(rest)) {
    const reason = UNUSED.get(key);
    if (reason !== undefined) reading.warnings.push(`${name}: ${key} is not used: ${reason}`);
    else {
      const guess = nearest(key, KNOWN_KEYS);
      if (guess !== undefined)
        reading.warnings.push(`${name}: ${key} is not an option; did you mean ${guess}?`);
    }
  }
}

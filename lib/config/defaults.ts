import { availableParallelism } from 'node:os';
import { MAX_TIMER_MS } from '../core/clock.ts';
import type { Limits } from '../core/limits.ts';
import type {
  AdaptiveConfig,
  AdmissionConfig,
  BatchConfig,
  BreakerConfig,
  CacheConfig,
  CacheEntryConfig,
  HedgeConfig,
  OutlierConfig,
  PoolConfig,
  ProbeConfig,
  RateLimitConfig,
  RestartConfig,
  RetryConfig,
  StopConfig,
} from './config.ts';

/*
 * Every option with its default, unit, range and meaning, once. `normalise.ts` reads values and ranges from here and
 * `optionsTable()` renders the same rows for the README, so neither can drift from the other.
 * Sources: `reliability` §8 (defaults to start from), `routing` §1.5 and §3.6; others are named in the row.
 */

export interface NumberOption {
  readonly value: number;
  readonly unit: string;
  readonly about: string;
  readonly min: number;
  readonly max: number;
  readonly whole: boolean;
}

/** One group of numbers, such as `retry`: the row set is checked against the type the engine reads. */
export type NumberOptions<T> = { readonly [K in keyof T]: NumberOption };

type Range = Partial<Pick<NumberOption, 'min' | 'max' | 'whole'>>;

function number(value: number, unit: string, about: string, range: Range = {}): NumberOption {
  return { value, unit, about, min: 0, max: Number.MAX_SAFE_INTEGER, whole: false, ...range };
}

/** A native timer holds at most 2^31 − 1 ms; what is longer would fire at once. */
const time = (value: number, about: string, range: Range = {}): NumberOption =>
  number(value, 'ms', about, { max: MAX_TIMER_MS, ...range });
/** `Infinity` is allowed and means: no bound. */
const count = (value: number, about: string, range: Range = {}): NumberOption =>
  number(value, 'count', about, { min: 1, whole: true, ...range });
const bytes = (value: number, about: string, range: Range = {}): NumberOption =>
  number(value, 'bytes', about, { min: 1, whole: true, ...range });
const share = (value: number, about: string, range: Range = {}): NumberOption =>
  number(value, 'share', about, { max: 1, ...range });

const KiB = 1024;
const MiB = 1024 * KiB;
/** A hint or setting beyond a day is a mistake or an attack (the SDK clamps to the same value). */
const DAY_MS = 86_400_000;

export const timeoutMs = time(
  60_000,
  'deadline of one operation: queueing, pages, retries and rounds included',
  { min: 1 },
);
export const startTimeoutMs = time(10_000, 'from the start of an attempt to Connected', { min: 1 });
export const listTimeoutMs = time(15_000, 'deadline of a whole list, all pages', { min: 1 });
export const maxInFlight = count(
  256,
  'requests at the same time per replica; 1 for a server that works serially',
  {
    max: Infinity,
  },
);
export const weight = number(1, 'ratio', 'share of the load relative to the other replicas', {
  min: 0.000_001,
  max: 1_000_000,
});
export const tier = number(0, 'rank', '0 is asked first, a higher tier is a fallback', {
  max: 255,
  whole: true,
});
export const tiersFactor = number(1.4, 'ratio', 'overprovisioning before a proportional spill (Envoy)', {
  min: 1,
  max: 100,
});
/** Two connections being opened per core keep the machine busy without starving what already runs. */
export const startConcurrency = count(2 * availableParallelism(), 'connections opened at the same time', {
  max: Infinity,
});

/** Starting a child blocks a host of this size for some 15 ms on Linux: 0.1 ms per MB (measured, `mcp/spawn-helper.ts`). */
export const spawnHelperAboveBytes = bytes(
  128 * MiB,
  'resident memory of the host from which on a helper process starts the servers that follow one that died (Linux)',
  { min: 0, max: Infinity },
);

export const retry: NumberOptions<RetryConfig> = {
  retries: number(2, 'attempts', 'attempts after the first', { max: 100, whole: true }),
  attemptMs: time(Infinity, 'one attempt of what may be repeated; then the next replica is asked', {
    min: 1,
    max: Infinity,
  }),
  baseMs: time(100, 'full jitter: delay k is random in 0 … min(capMs, baseMs × 2^k)'),
  capMs: time(2_000, 'longest delay'),
  budgetRatio: share(0.1, 'retries allowed per request'),
  budgetMinPerSecond: number(1, 'per second', 'retries allowed whatever the load', { max: 1_000_000 }),
  budgetWindowMs: time(10_000, 'window of the budget (Finagle)', { min: 1 }),
};

export const breaker: NumberOptions<BreakerConfig> = {
  minSamples: count(5, 'outcomes in the window before the ratio counts'),
  failureRatio: share(0.5, 'failures in the window that open it', { min: 0.000_001 }),
  consecutive: count(5, 'failures in a row that open it', { max: Infinity }),
  windowMs: time(10_000, 'window of the ratio', { min: 1 }),
  openMs: time(5_000, 'first time open; then one probe', { min: 1 }),
  openFactor: number(2, 'ratio', 'growth of the open time after each failed probe', { min: 1, max: 100 }),
  openMaxMs: time(60_000, 'longest time open', { min: 1 }),
  probeTimeoutMs: time(5_000, 'how long that probe may take', { min: 1 }),
};

export const hedge: NumberOptions<HedgeConfig> = {
  quantile: share(0.95, 'the second request starts after this quantile of the latency seen', {
    min: 0.5,
    max: 0.9999,
  }),
  minSamples: count(20, 'latencies seen before the first hedge'),
  minDelayMs: time(1, 'shortest delay of the second request'),
  budgetRatio: share(0.05, 'extra requests allowed per request, shared with retries'),
  maxUtilisation: share(0.5, 'no hedge when more of the slots are taken'),
};

export const adaptive: NumberOptions<AdaptiveConfig> = {
  min: count(1, 'never fewer requests at the same time (Netflix: 20, too many for a stdio server)'),
};

export const batch: NumberOptions<BatchConfig> = {
  windowMs: time(
    0,
    'how long the first request of a transmission waits for others; 0: until the end of the turn',
  ),
};

export const rateLimit: NumberOptions<RateLimitConfig> = {
  perSecond: number(Infinity, 'per second', 'sustained rate of requests', { min: 0.000_001, max: Infinity }),
  burst: count(1, 'requests admitted at once; default: the rate of one second', { max: Infinity }),
};

export const admission: NumberOptions<AdmissionConfig> = {
  maxQueue: number(256, 'count', 'requests waiting for a slot, then `queue_full`', {
    max: Infinity,
    whole: true,
  }),
  perTool: count(Infinity, 'slots of one tool over all replicas', { max: Infinity }),
  perTenant: count(Infinity, 'slots of one tenant over all replicas', { max: Infinity }),
};

export const outlier: NumberOptions<OutlierConfig> = {
  intervalMs: time(10_000, 'between two looks at the pool (Envoy)', { min: 1 }),
  consecutive: count(5, 'failures in a row that eject a replica (Envoy)', { max: Infinity }),
  ejectionMs: time(30_000, 'base time of an ejection, times the number of ejections (Envoy)', { min: 1 }),
  ejectionMaxMs: time(300_000, 'longest ejection (Envoy)', { min: 1 }),
  maxEjected: share(0.5, 'replicas ejected at the same time (small pools need half, not a tenth)'),
  minReplicas: count(2, 'smallest pool in which one can be ejected', { max: 1_000_000 }),
};

export const probe: NumberOptions<ProbeConfig> = {
  intervalMs: time(30_000, 'silence before a ready connection is asked whether it lives', { min: 10 }),
  timeoutMs: time(5_000, 'answer of a probe', { min: 1 }),
  failures: count(3, 'failed probes in a row that end the session'),
};

export const restart: NumberOptions<RestartConfig> = {
  baseMs: time(500, 'delay before the first reconnect'),
  factor: number(1.6, 'ratio', 'growth of the delay', { min: 1, max: 100 }),
  capMs: time(30_000, 'longest delay, and the pace of a parked connection'),
  jitter: share(0.2, 'relative spread of a delay'),
  intensity: number(5, 'restarts', 'more within the period park the connection', {
    max: Infinity,
    whole: true,
  }),
  periodMs: time(60_000, 'period of the intensity', { min: 1 }),
};

export const stop: NumberOptions<StopConfig> = {
  graceMs: time(2_000, 'whole time of a stop: pending work, then the end of the processes'),
  eofMs: time(500, 'from the end of stdin to SIGTERM'),
  sigtermMs: time(500, 'from SIGTERM to SIGKILL of the process group'),
};

export const limits: NumberOptions<Limits> = {
  messageBytes: bytes(
    16 * MiB,
    'one message: a line, a WebSocket message, an HTTP body after decompression, one SSE event',
  ),
  depth: count(100, 'nesting of one message', { max: 10_000 }),
  headerBytes: bytes(16 * KiB, 'all headers of one HTTP response (undici)'),
  writeQueueBytes: bytes(4 * MiB, 'frames waiting for a peer that does not read'),
  notificationsPerSecond: number(200, 'per second', 'inbound notifications, sustained', { max: Infinity }),
  notificationBurst: count(1_000, 'inbound notifications at once', { max: Infinity }),
  requestIdleMs: time(60_000, 'silence on the response stream of one request', { min: 1 }),
  listenIdleMs: time(90_000, 'silence on a notification stream', { min: 1 }),
  stderrTailBytes: bytes(8 * KiB, 'last bytes of stderr kept for error reports', { min: 0, max: 16 * MiB }),
  serverRequestsAtOnce: count(4, 'requests of a server to the host answered at the same time', {
    min: 0,
    max: Infinity,
  }),
  serverRequestsPerMinute: count(30, 'requests of a server to the host per minute', {
    min: 0,
    max: Infinity,
  }),
  listPages: count(64, 'pages of one list', { max: Infinity }),
  listItems: count(10_000, 'items of one list', { max: Infinity }),
  listBytes: bytes(64 * MiB, 'bytes of one list, all pages', { max: Infinity }),
  schemaBytes: bytes(256 * KiB, 'one JSON Schema'),
  schemaDepth: count(32, 'nesting of one JSON Schema', { max: 1_000 }),
  schemaRefs: count(256, '`$ref` in one JSON Schema', { min: 0 }),
  inputRounds: count(10, '`input_required` rounds of one operation (SDK)', { min: 0, max: 1_000 }),
};

export const pool: NumberOptions<PoolConfig> = {
  maxConnections: count(
    Infinity,
    'connections open at the same time; the least recently used idle one goes first',
    {
      max: Infinity,
    },
  ),
  idleMs: time(Infinity, 'a connection unused for this long is closed, until it is needed again', {
    min: 1,
    max: Infinity,
  }),
};

const ttl = (about: string): NumberOption => time(0, about, { max: DAY_MS });
const kept = (value: number): NumberOption =>
  bytes(value, 'bytes kept; 0 keeps nothing', { min: 0, max: Infinity });
const HINTS = 'fresh for this long where the server gives no hint; 0: only its hints count';

export const cache: { readonly [K in keyof CacheConfig]: NumberOptions<CacheEntryConfig> } = {
  lists: { ttlMs: ttl(HINTS), maxBytes: kept(16 * MiB) },
  resources: { ttlMs: ttl(HINTS), maxBytes: kept(64 * MiB) },
  tools: {
    ttlMs: ttl('above 0 is the opt-in: results of trusted read-only tools are fresh for this long'),
    maxBytes: kept(16 * MiB),
  },
};

/** Layers that stand in the path without being asked for. */
export const LAYER_ON = {
  retry: true,
  breaker: true,
  hedge: false,
  adaptive: false,
  batch: false,
  outlier: true,
  probe: true,
} as const;

export const FLAGS = {
  lazy: { value: false, about: 'connected by the first request that needs it, not by `start()`' },
  pinned: { value: false, about: 'never evicted from the pool' },
  trusted: { value: false, about: 'annotations of its tools are believed' },
  allowInsecure: {
    value: false,
    about: 'plain http beyond loopback and unverified certificates are accepted',
  },
} as const;

export const DEFAULT_STRATEGY = 'ewma-least-outstanding';

// ── the table ───────────────────────────────────────────────────────────────────────────────────────────────────

type OptionScope = 'server' | 'engine' | 'engine, server' | 'replica';

export interface OptionRow {
  readonly key: string;
  readonly scope: OptionScope;
  readonly value: string;
  readonly unit: string;
  readonly about: string;
}

function shown(value: number): string {
  return value === Infinity
    ? 'unlimited'
    : String(value).replace(/\B(?=(\d{3})+$)/g, String.fromCodePoint(0x202f));
}

function numberRow(scope: OptionScope, key: string, option: NumberOption): OptionRow {
  return { key, scope, value: shown(option.value), unit: option.unit, about: option.about };
}

function groupRows(scope: OptionScope, key: string, group: NumberOptions<object>): OptionRow[] {
  return Object.entries(group as Readonly<Record<string, NumberOption>>).map(([name, option]) =>
    numberRow(scope, `${key}.${name}`, option),
  );
}

function row(scope: OptionScope, key: string, value: string, about: string, unit = '–'): OptionRow {
  return { key, scope, value, unit, about };
}

function layerRows(key: keyof typeof LAYER_ON, group: NumberOptions<object>, about: string): OptionRow[] {
  return [row('server', key, LAYER_ON[key] ? 'on' : 'off', about), ...groupRows('server', key, group)];
}

/** Every option, in the order of the README. */
export const OPTION_ROWS: readonly OptionRow[] = [
  row('engine', 'servers', '{}', 'the servers by name; `mcpServers`, `mcp.servers` and `mcp` are read too'),
  row(
    'engine',
    'naming',
    '`prefixed`',
    'exposed names: `prefixed`, `transparent` or `(server, name) => string`',
  ),
  row(
    'engine',
    'host',
    'nothing',
    'what servers may ask of the host: `sample`, `elicit`, `roots`, `log` (from level `info` on, until `logging/setLevel` says otherwise), `capabilities`',
  ),
  row(
    'engine',
    'routes',
    '[]',
    'resources by pattern or type to servers: `{ match: "file://**", to: "files" }`',
  ),
  row('engine', 'interceptors', '[]', 'your own layers; the first is the outermost'),
  row(
    'engine',
    'policy',
    'allow',
    'who may do what: rules (`when`: a function or CEL), `{ rules, roles?, conditions? }`, or `{ decide(query) }`; with one, whoever is not the host needs a rule',
  ),
  row('engine', 'principal', 'nobody', 'on whose behalf requests without a principal are made'),
  row(
    'engine',
    'secure',
    'false',
    'nothing is allowed but by a rule of `policy`, to the host neither; tools are pinned',
  ),
  row(
    'engine',
    'pinning',
    'off; on with `secure`',
    'a tool that is not what was accepted is quarantined: `true` or `{ firstSight: "trust-on-first-use" | "approve", key? }`; kept in `stateDir`, in memory without one',
  ),
  row(
    'engine',
    'audit',
    'off',
    'what was done, for whom: a file name, `true`, or the options of the audit layer',
  ),
  ...groupRows('engine', 'pool', pool),
  row('engine', 'startConcurrency', '2 per core', startConcurrency.about, startConcurrency.unit),
  numberRow('engine', 'spawnHelperAboveBytes', spawnHelperAboveBytes),
  row('engine', 'stateDir', 'none', 'the only directory ever written to'),
  row(
    'engine',
    'vault',
    'none',
    '`{ key }`: tokens of servers outlive the process, encrypted, below `stateDir`',
  ),
  row('engine', 'clock', 'system', 'time as a port'),
  row('engine', 'random', '`Math.random`', 'chance as a port'),
  row('engine', 'logger', 'silent', 'where to write what a person should read'),
  numberRow('engine, server', 'timeoutMs', timeoutMs),
  numberRow('engine, server', 'startTimeoutMs', startTimeoutMs),
  numberRow('engine, server', 'listTimeoutMs', listTimeoutMs),
  ...groupRows('engine, server', 'restart', restart),
  ...groupRows('engine, server', 'stop', stop),
  ...groupRows('engine, server', 'cache.lists', cache.lists),
  ...groupRows('engine, server', 'cache.resources', cache.resources),
  ...groupRows('engine, server', 'cache.tools', cache.tools),
  ...groupRows('engine, server', 'limits', limits),
  row('replica', 'command, args', '–', 'a program and its arguments, never given to a shell'),
  row('replica', 'env', '{}', 'variables for the program; `null` takes an inherited one away'),
  row('replica', 'envFile', 'none', 'a dotenv file below `env`'),
  row(
    'replica',
    'inheritEnv',
    'safe',
    '`safe`: PATH, HOME and the like; `all`; or names beside the safe ones',
  ),
  row('replica', 'cwd', 'of the host', 'working directory of the program'),
  row('replica', 'url, headers', '–', 'an http(s) or ws(s) address; headers go to its origin only'),
  row(
    'replica',
    'type',
    'from the fields',
    '`stdio`, `http`, `sse` or `ws`, with the aliases of other hosts',
  ),
  row('replica', 'server', '–', 'a function that makes an `McpServer` or `Server` in this process'),
  row('replica', 'transport', '–', 'a function that makes an MCP SDK transport'),
  numberRow('replica', 'weight', weight),
  numberRow('replica', 'tier', tier),
  row('server', 'replicas', 'one', 'several places of one server, or a number of copies'),
  row('server', 'disabled', 'false', 'true (or `enabled: false`): as if it were not there'),
  row(
    'server',
    'era',
    '`auto`',
    '`legacy`: initialize handshake, `modern`: 2026-07-28, `auto`: ask the server',
  ),
  row('server', 'prior', 'none', 'a discovery result kept from an earlier run'),
  ...Object.entries(FLAGS).map(([key, flag]) => row('server', key, String(flag.value), flag.about)),
  numberRow('server', 'maxInFlight', maxInFlight),
  row(
    'server',
    'routing.strategy',
    `\`${DEFAULT_STRATEGY}\``,
    'how a replica is picked; its options stand beside it',
  ),
  row(
    'server',
    'affinity',
    'none',
    '`by` tool, resource, session, tenant, handle, key or a function; `argument`, `mode`, `onLoss`',
  ),
  row('server', 'tiers.mode', '`failover`', 'when a higher tier is asked: `failover` or `proportional`'),
  numberRow('server', 'tiers.factor', tiersFactor),
  row('server', 'equivalentTo', '[]', 'servers that may answer in its place, in this order'),
  ...layerRows('retry', retry, 'repeats what may be repeated'),
  ...layerRows('breaker', breaker, 'keeps requests from a replica that fails'),
  ...layerRows('adaptive', adaptive, 'AIMD on the requests at the same time, `maxInFlight` at most'),
  ...layerRows('batch', batch, 'micro-window in which requests share a transmission'),
  ...layerRows('hedge', hedge, 'a second request to another replica, read-only operations only'),
  row('server', 'rateLimit', 'off', 'a rate per second, or both numbers'),
  ...groupRows('server', 'rateLimit', rateLimit),
  ...groupRows('server', 'admission', admission),
  ...layerRows('outlier', outlier, 'takes a replica out of the pool that does worse than the others'),
  ...layerRows('probe', probe, 'asks a silent connection whether it lives'),
  row(
    'server',
    'auth',
    'none',
    'credentials towards the server: one of `bearer`, `oauth`, `clientCredentials`, `privateKeyJwt`, `crossApp`, or a provider of the MCP SDK; `dpop`, `timeoutMs` (30000 ms, one round), `per` (`server`, `tenant` or `principal`: who shares them and the connections), `idleMs` (900000 ms, after which connections of one principal are closed)',
  ),
  row(
    'server',
    'tls',
    'system',
    '`ca`, `cert`, `key` (PEM) or `caFile`, `certFile`, `keyFile`; `passphrase`, `servername`, `rejectUnauthorized`',
  ),
  row(
    'server',
    'tools',
    'all',
    '`include` and `exclude` by original name (also `includeTools`, `excludeTools`)',
  ),
];

/** Every option as a Markdown table, for the README. */
export function optionsTable(): string {
  const lines = OPTION_ROWS.map(
    (r) =>
      `| \`${r.key}\` | ${r.scope} | ${r.value} | ${r.unit} | ${r.about.replaceAll('|', String.raw`\|`)} |`,
  );
  return ['| Option | Of | Default | Unit | Meaning |', '|---|---|---|---|---|', ...lines, ''].join('\n');
}

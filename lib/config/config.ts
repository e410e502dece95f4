import type { Clock } from '../core/clock.ts';
import type { Interceptor } from '../core/interceptor.ts';
import type { Json } from '../core/json-rpc.ts';
import type { Limits } from '../core/limits.ts';
import type { Logger, Random } from '../core/ports.ts';
import type { Principal, Request } from '../core/request.ts';

/*
 * Two vocabularies in one file: what a person may write (`EngineConfig`, `ServerConfig`: loose, aliases of other
 * hosts included) and what the engine reads (`Config`, `ResolvedServer`: frozen, every value filled). Only
 * `normalise.ts` leads from the first to the second. Defaults and units of every option stand in `defaults.ts`.
 */

// ── what is read by the engine ──────────────────────────────────────────────────────────────────────────────────

export interface StdioPlace {
  readonly kind: 'stdio';
  readonly command: string;
  readonly args: readonly string[];
  /** Configured variables only (file of `envFile` below `env`); `null` takes an inherited one away. */
  readonly env: Readonly<Record<string, string | null>>;
  /** Absolute where the loader knew a base; `undefined`: the working directory of the host. */
  readonly cwd: string | undefined;
  /** `safe`: the short list of `environment.ts`; `all`: everything; names: these beside the short list. */
  readonly inheritEnv: InheritEnv;
}

export type InheritEnv = 'safe' | 'all' | readonly string[];

export interface HttpPlace {
  readonly kind: 'http';
  readonly url: URL;
  /** Lower-case names; sent to this origin only. */
  readonly headers: Readonly<Record<string, string>>;
  /** `auto`: Streamable HTTP, then SSE where the server answers 400, 404 or 405. */
  readonly flavour: 'auto' | 'streamable-http' | 'sse';
}

export interface WebSocketPlace {
  readonly kind: 'websocket';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
}

export interface InProcessPlace {
  readonly kind: 'in-process';
  /** Gives a fresh `McpServer` or `Server` of `@modelcontextprotocol/server` per attempt. */
  readonly server: () => unknown;
}

export interface CustomPlace {
  readonly kind: 'custom';
  /** Gives a fresh MCP SDK `Transport` per attempt. */
  readonly transport: () => unknown;
}

/** Where a replica is. */
export type Place = StdioPlace | HttpPlace | WebSocketPlace | InProcessPlace | CustomPlace;

export interface ResolvedReplica {
  /** `server` where there is one replica, `server#0`, `server#1` … where there are several. */
  readonly id: string;
  readonly where: Place;
  /** Share of the load relative to the other replicas; above 0. */
  readonly weight: number;
  /** 0 is asked first; a higher tier is a fallback. */
  readonly tier: number;
}

/** A strategy of the host's own; owned by `routing/strategy`, only handed through here. */
export interface OwnStrategy {
  readonly name: string;
  init(...args: never[]): unknown;
  pick(...args: never[]): number;
}

export interface RoutingConfig {
  readonly strategy: string | OwnStrategy;
  /** Options of the strategy, unread here. */
  readonly options: Json;
}

export interface AffinityConfig {
  readonly by:
    | 'tool'
    | 'resource'
    | 'session'
    | 'tenant'
    | 'handle'
    | 'key'
    | ((request: Request) => string | undefined);
  /** JSON pointer into the arguments; for `by: 'handle'` and `by: 'key'`. */
  readonly argument: string | undefined;
  readonly mode: 'prefer' | 'strict';
  /** When the replica of a strict key is gone: fail with `affinity_lost`, move on, or move on after a new session. */
  readonly onLoss: 'fail' | 'rehash' | 'reinit';
}

export interface TiersConfig {
  /** `failover`: the next tier when the one before has nothing usable. `proportional`: spill as in Envoy. */
  readonly mode: 'failover' | 'proportional';
  /** Overprovisioning factor of `proportional` (Envoy: 1.4). */
  readonly factor: number;
}

export interface CacheEntryConfig {
  /** How long a result counts as fresh where the server says nothing itself, milliseconds. 0: only the server's hints count. */
  readonly ttlMs: number;
  /** Bytes kept at most. 0: nothing is kept. */
  readonly maxBytes: number;
}

export interface CacheConfig {
  readonly lists: CacheEntryConfig;
  readonly resources: CacheEntryConfig;
  /** `ttlMs` above 0 is the opt-in: results of trusted read-only tools are then kept. */
  readonly tools: CacheEntryConfig;
}

export interface RetryConfig {
  /** Attempts after the first. */
  readonly retries: number;
  /** How long one attempt of an operation that may be repeated may take; `Infinity`: as long as the whole operation. */
  readonly attemptMs: number;
  /** Full jitter: the delay before retry k is random in 0 … min(capMs, baseMs × 2^k). */
  readonly baseMs: number;
  readonly capMs: number;
  /** Retries allowed per request, over the window … */
  readonly budgetRatio: number;
  /** … with this floor per second. */
  readonly budgetMinPerSecond: number;
  readonly budgetWindowMs: number;
}

export interface BreakerConfig {
  readonly minSamples: number;
  /** Share of failures in the window that opens it, 0 … 1. */
  readonly failureRatio: number;
  /** Failures in a row that open it. */
  readonly consecutive: number;
  readonly windowMs: number;
  /** First time open; doubled (`openFactor`) up to `openMaxMs`. */
  readonly openMs: number;
  readonly openFactor: number;
  readonly openMaxMs: number;
  /** How long the probe of a half-open breaker may take. */
  readonly probeTimeoutMs: number;
}

export interface HedgeConfig {
  /** The second request starts after this quantile of the latency seen. */
  readonly quantile: number;
  readonly minSamples: number;
  readonly minDelayMs: number;
  /** Extra requests allowed per request. */
  readonly budgetRatio: number;
  /** No hedge when more than this share of the slots is taken. */
  readonly maxUtilisation: number;
}

export interface AdaptiveConfig {
  /** Never fewer requests at the same time than this. */
  readonly min: number;
}

export interface BatchConfig {
  /** How long the first request of a transmission waits for others, milliseconds. 0: until the end of the turn. */
  readonly windowMs: number;
}

export interface RateLimitConfig {
  readonly perSecond: number;
  readonly burst: number;
}

export interface AdmissionConfig {
  /** Requests waiting for a slot. */
  readonly maxQueue: number;
  /** Slots of one tool, over all replicas. */
  readonly perTool: number;
  /** Slots of one tenant, over all replicas. */
  readonly perTenant: number;
}

export interface OutlierConfig {
  readonly intervalMs: number;
  readonly consecutive: number;
  readonly ejectionMs: number;
  readonly ejectionMaxMs: number;
  /** Share of the replicas ejected at most, 0 … 1. */
  readonly maxEjected: number;
  readonly minReplicas: number;
}

export interface ProbeConfig {
  /** Milliseconds of silence before a ready connection is asked whether it lives. */
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Failures in a row that end the session. */
  readonly failures: number;
}

export interface RestartConfig {
  readonly baseMs: number;
  readonly factor: number;
  readonly capMs: number;
  /** Relative spread of a delay, 0 … 1. */
  readonly jitter: number;
  /** More restarts than this within `periodMs` park the connection. */
  readonly intensity: number;
  readonly periodMs: number;
}

export interface StopConfig {
  /** Whole time of a stop, milliseconds. */
  readonly graceMs: number;
  /** From the end of stdin to SIGTERM. */
  readonly eofMs: number;
  /** From SIGTERM to SIGKILL of the group. */
  readonly sigtermMs: number;
}

export interface TlsConfig {
  /** PEM text, not paths (the loader reads `caFile`, `certFile`, `keyFile`). */
  readonly ca: readonly string[] | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  readonly passphrase: string | undefined;
  readonly servername: string | undefined;
  /** `false` only together with `allowInsecure`. */
  readonly rejectUnauthorized: boolean;
}

/** Which tools exist for us: `includeTools`, `excludeTools` and `tools` of other hosts. Original names. */
export interface ToolSelection {
  /** `undefined`: all. */
  readonly include: readonly string[] | undefined;
  readonly exclude: readonly string[];
}

/** Whose credentials are asked for. */
export interface CredentialContext {
  readonly server: string;
  /** `undefined` where all share them (`per: 'server'`), where a tenant does, and for requests on nobody's behalf. */
  readonly principal: Principal | undefined;
  /** With `per: 'tenant'`: the principal's tenant, or its id where it has none. */
  readonly tenant: string | undefined;
}

/**
 * A token, or where to get one. A function is asked once per credential scope, and again when the server has refused
 * what it gave.
 */
export type TokenSource =
  | string
  | ((context: CredentialContext) => string | undefined | Promise<string | undefined>);

/** Authorization code with PKCE: someone agrees in a browser that the host opens (event `auth.required`). */
export interface OAuthConfig {
  /** Where the authorization server sends the browser back to. Nothing of ours listens there; the host hands the address on. */
  readonly redirectUrl: string;
  /** Registered beforehand. Absent: `clientMetadataUrl` where it is taken, else dynamic registration. */
  readonly clientId?: string | undefined;
  readonly clientSecret?: string | undefined;
  /** https address of a client metadata document. */
  readonly clientMetadataUrl?: string | undefined;
  readonly clientName?: string | undefined;
  readonly scope?: string | undefined;
  /** Called beside the event; must not open anything but a browser. */
  readonly onRedirect?:
    | ((authorizationUrl: URL, context: CredentialContext) => void | Promise<void>)
    | undefined;
}

export interface ClientCredentialsConfig {
  readonly clientId: string;
  readonly clientSecret: string;
  readonly clientName?: string | undefined;
  readonly scope?: string | undefined;
}

export interface PrivateKeyJwtConfig {
  readonly clientId: string;
  /** PKCS#8 PEM, its bytes, or a JWK. */
  readonly privateKey: string | Uint8Array | Json;
  /** `ES256`, `RS256` and the like. */
  readonly algorithm: string;
  readonly clientName?: string | undefined;
  readonly scope?: string | undefined;
}

/** Asked for a grant for one authorization server and one resource. */
export interface GrantRequest {
  readonly authorizationServerUrl: string;
  readonly resourceUrl: string;
  readonly scope?: string | undefined;
}

/** Cross-App Access: the identity provider of a company vouches for its user. Exactly one of the two ways to a grant. */
export interface CrossAppConfig {
  readonly clientId: string;
  readonly clientSecret: string;
  readonly clientName?: string | undefined;
  readonly assertion?:
    | ((request: GrantRequest, context: CredentialContext) => string | Promise<string>)
    | undefined;
  readonly identityProvider?: IdentityProviderConfig | undefined;
}

export interface IdentityProviderConfig {
  /** Exactly one: its token endpoint, or its issuer, whose metadata names it. */
  readonly tokenEndpoint?: string | undefined;
  readonly issuer?: string | undefined;
  readonly clientId: string;
  readonly clientSecret?: string | undefined;
  readonly idToken: TokenSource;
}

interface AuthFlowConfig {
  /** The only issuer that gets what we have. Default: the first one that the server names. */
  readonly expectedIssuer?: string | undefined;
  /** Tokens bound to a key of ours (RFC 9449). */
  readonly dpop: boolean;
}

/** Credentials towards a server; `mcp/authorization` acts on them. */
export type AuthConfig = (
  | { readonly kind: 'bearer'; readonly token: TokenSource }
  | ({ readonly kind: 'oauth' } & OAuthConfig & AuthFlowConfig)
  | ({ readonly kind: 'clientCredentials' } & ClientCredentialsConfig & AuthFlowConfig)
  | ({ readonly kind: 'privateKeyJwt' } & PrivateKeyJwtConfig & AuthFlowConfig)
  | ({ readonly kind: 'crossApp' } & CrossAppConfig & AuthFlowConfig)
  | { readonly kind: 'provider'; readonly provider: object }
) & {
  /** For one round with an authorization server, or one call of the host, milliseconds. */
  readonly timeoutMs: number;
  /**
   * Who shares the credentials, and with them connections, sessions, lists and what is remembered. Default: `principal`
   * for `oauth` (somebody agreed for themselves) and for token functions that take a parameter, else `server`.
   */
  readonly per: CredentialScope;
  /** The connections of a principal (tenant) that has asked nothing for this long are closed and forgotten, milliseconds. */
  readonly idleMs: number;
};

export type CredentialScope = 'server' | 'tenant' | 'principal';

export interface ResolvedServer {
  readonly name: string;
  /** At least one. */
  readonly replicas: readonly ResolvedReplica[];
  readonly era: 'auto' | 'legacy' | 'modern';
  /** A discovery result kept from an earlier run, in place of the first probe. */
  readonly prior: Json | undefined;
  /** Connected by the first request that needs it, not by `start()`. */
  readonly lazy: boolean;
  /** Never evicted from the pool. */
  readonly pinned: boolean;
  /** Requests at the same time per replica. */
  readonly maxInFlight: number;
  readonly timeoutMs: number;
  readonly startTimeoutMs: number;
  readonly listTimeoutMs: number;
  readonly routing: RoutingConfig;
  readonly affinity: AffinityConfig | undefined;
  readonly tiers: TiersConfig;
  /** Servers that offer the same things and may answer when this one cannot, in this order. */
  readonly equivalentTo: readonly string[];
  readonly cache: CacheConfig;
  /** `undefined`: the layer is not installed. */
  readonly retry: RetryConfig | undefined;
  readonly breaker: BreakerConfig | undefined;
  readonly hedge: HedgeConfig | undefined;
  /** The number of requests at the same time follows what a replica can take; `maxInFlight` is its upper bound. */
  readonly adaptive: AdaptiveConfig | undefined;
  /** Requests of a short while share a transmission where protocol or pipe allow it. */
  readonly batch: BatchConfig | undefined;
  readonly rateLimit: RateLimitConfig | undefined;
  readonly admission: AdmissionConfig;
  readonly outlier: OutlierConfig | undefined;
  readonly probe: ProbeConfig | undefined;
  readonly restart: RestartConfig;
  readonly stop: StopConfig;
  readonly limits: Limits;
  readonly auth: AuthConfig | undefined;
  readonly tls: TlsConfig | undefined;
  /** Annotations of its tools are believed. */
  readonly trusted: boolean;
  /** Plain http beyond loopback, and certificates that nobody vouches for, are accepted. */
  readonly allowInsecure: boolean;
  readonly tools: ToolSelection;
  /** Keys that mean nothing to us, as they were written. */
  readonly extensions: Json;
}

/** `{ match: 'file://**', to: 'files' }`, or by MIME type: `{ type: 'image/*', to: ['pictures', 'files'] }`. */
export interface RouteConfig {
  /** Globs of the URI, one of which must match. */
  readonly match?: string | readonly string[] | undefined;
  /** Globs of the MIME type, one of which must match. */
  readonly type?: string | readonly string[] | undefined;
  /** The server, or several, asked in this order. */
  readonly to: string | readonly string[];
}

export type Naming = 'prefixed' | 'transparent' | ((server: string, name: string) => string);

/** With each call to the host: who asks, for whom, and when to give up. */
export interface HostContext {
  readonly server: string;
  readonly principal: Principal | undefined;
  readonly signal: AbortSignal;
}

export interface Root {
  readonly uri: string;
  readonly name?: string | undefined;
}

/** What the host answers to servers. Absent means: the capability is not declared. */
export interface Host {
  /** `sampling/createMessage`. */
  readonly sample?: ((params: Json, context: HostContext) => Json | Promise<Json>) | undefined;
  /** `elicitation/create`. */
  readonly elicit?: ((params: Json, context: HostContext) => Json | Promise<Json>) | undefined;
  /** `roots/list`. */
  readonly roots?:
    | readonly Root[]
    | ((context: HostContext) => readonly Root[] | Promise<readonly Root[]>)
    | undefined;
  /** `notifications/message`. */
  readonly log?: ((params: Json, context: HostContext) => void | Promise<void>) | undefined;
  /** Client capabilities declared beside those that follow from the callbacks. */
  readonly capabilities?: Json | undefined;
}

export interface PoolConfig {
  /** `Infinity`: never evict. */
  readonly maxConnections: number;
  /** A connection unused for this long is closed, milliseconds. `Infinity`: never. */
  readonly idleMs: number;
}

/**
 * A list of rules, `{ rules, roles?, conditions? }`, or an engine of your own, `{ decide(query), explain?(query) }`. What is in
 * it is checked by `createEngine`, by the room that owns it (`security/policy`).
 */
export type PolicyConfig = object;
/** Owned by `security/vault`: where its key comes from. Only handed through here. */
export type VaultConfig = { readonly key: unknown };
/** At least 16 bytes, or where to get them. */
export type KeyConfig = Uint8Array | string | (() => Uint8Array | string);

/** The audit trail: one file that only grows, owned by one engine. */
export interface AuditConfig {
  /** JSON Lines; its directory exists. Default: `audit.jsonl` in `stateDir`. */
  readonly file?: string;
  /** With a key nobody without it can forge a record. */
  readonly key?: KeyConfig;
  /** When a record cannot be written: `refuse` (default) does nothing that is not on record. */
  readonly onFailure?: 'refuse' | 'continue';
  /** `data`: each record is on the disk before anything goes on. Default `none`: it is with the operating system. */
  readonly sync?: 'none' | 'data';
  /** Told of every record that was lost. */
  readonly onError?: (error: Error) => void;
  /** Told of each new head of the chain, to keep it where the file is not. */
  readonly onHead?: (head: { readonly seq: number; readonly mac: string }) => void;
}

/** What servers' tools are compared with; kept in `stateDir`, in memory without one. */
export interface PinningConfig {
  /** `trust-on-first-use` (default): what is new is accepted. `approve`: it waits for `approve(server, tool?)`. */
  readonly firstSight?: 'trust-on-first-use' | 'approve';
  /** Seals the pins, so that nobody can accept something by editing the file. */
  readonly key?: KeyConfig;
}

export interface Config {
  /** In order of declaration; names are unique; disabled servers are gone. */
  readonly servers: readonly ResolvedServer[];
  readonly naming: Naming;
  readonly host: Host;
  readonly interceptors: readonly Interceptor[];
  /** Which server has which resources, whoever lists them; the first rule that fits decides. */
  readonly routes: readonly RouteConfig[];
  readonly policy: PolicyConfig | undefined;
  readonly principal: Principal | undefined;
  readonly secure: boolean;
  readonly audit: AuditConfig | undefined;
  /** `undefined`: on where `secure` is. */
  readonly pinning: PinningConfig | false | undefined;
  readonly pool: PoolConfig;
  /** What servers have that do not say otherwise. */
  readonly cache: CacheConfig;
  readonly limits: Limits;
  readonly restart: RestartConfig;
  readonly stop: StopConfig;
  /** Deadline of an operation that belongs to no single server, and of servers that do not say otherwise. */
  readonly timeoutMs: number;
  readonly startTimeoutMs: number;
  /** Deadline of a whole list, all pages, milliseconds. */
  readonly listTimeoutMs: number;
  /** Connections opened at the same time. */
  readonly startConcurrency: number;
  /**
   * Resident memory of the host, bytes, from which on a small helper process starts the servers that follow one that died:
   * on Linux, starting a child blocks the event loop for 0.1 ms per MB of the host. Infinity: never.
   */
  readonly spawnHelperAboveBytes: number;
  /** Absolute. `undefined`: nothing is written anywhere. */
  readonly stateDir: string | undefined;
  /** Tokens of servers are kept below `stateDir`, encrypted. `undefined`: they live in memory. */
  readonly vault: VaultConfig | undefined;
  /** `undefined`: the production port (`createClock()`, `Math.random`, silent). */
  readonly clock: Clock | undefined;
  readonly random: Random | undefined;
  readonly logger: Logger | undefined;
  /** Oddities of the input that harm nothing: unused keys, likely typing errors. One sentence each, no secrets. */
  readonly warnings: readonly string[];
  readonly extensions: Json;
}

// ── what may be written ─────────────────────────────────────────────────────────────────────────────────────────

/** Every key of `T` optional, at all levels of plain options. */
type Loose<T> = { readonly [K in keyof T]?: T[K] | undefined };
/** A layer: `false` switches it off, `true` takes the defaults. */
type Layer<T> = boolean | null | Loose<T> | undefined;

/** Where one replica is, in the words of any MCP host. Exactly one of `command`, `url`, `server`, `transport`. */
export interface PlaceConfig {
  /** `stdio` `local` · `http` `streamable-http` `streamableHttp` `remote` · `sse` · `ws` `websocket`. Follows from the other fields. */
  readonly type?: string | undefined;
  /** Alias of `type`. */
  readonly transportType?: string | undefined;
  /** A program, or a program with its arguments (opencode). Never given to a shell. */
  readonly command?: string | readonly string[] | undefined;
  readonly args?: readonly string[] | undefined;
  /** Variables for the program; `null` removes an inherited one. */
  readonly env?: Readonly<Record<string, string | number | boolean | null | undefined>> | undefined;
  /** Alias of `env` (opencode). */
  readonly environment?: Readonly<Record<string, string | number | boolean | null | undefined>> | undefined;
  /** A dotenv file; `env` wins over it. */
  readonly envFile?: string | undefined;
  readonly cwd?: string | undefined;
  /** `true`: all of the host's environment; names: these beside the safe ones. Default `false`: the safe ones. */
  readonly inheritEnv?: boolean | 'safe' | 'all' | readonly string[] | undefined;
  readonly url?: string | URL | undefined;
  /** Aliases of `url` (Windsurf, Gemini CLI). */
  readonly serverUrl?: string | undefined;
  readonly httpUrl?: string | undefined;
  readonly headers?: Readonly<Record<string, string | number | boolean | null | undefined>> | undefined;
  readonly server?: (() => unknown) | undefined;
  readonly transport?: (() => unknown) | undefined;
}

export interface ReplicaConfig extends PlaceConfig {
  readonly weight?: number | undefined;
  readonly tier?: number | undefined;
}

export interface ServerConfig extends PlaceConfig {
  /** Fields given beside `replicas` hold for each of them; a number asks for that many copies. */
  readonly replicas?: readonly ReplicaConfig[] | number | undefined;
  readonly disabled?: boolean | undefined;
  readonly enabled?: boolean | undefined;
  readonly era?: 'auto' | 'legacy' | 'modern' | undefined;
  readonly prior?: Json | undefined;
  readonly lazy?: boolean | undefined;
  readonly pinned?: boolean | undefined;
  readonly maxInFlight?: number | undefined;
  readonly timeoutMs?: number | undefined;
  readonly startTimeoutMs?: number | undefined;
  readonly listTimeoutMs?: number | undefined;
  /** A name, or a name with the options of the strategy beside it; in place of the name a `RoutingStrategy` of your own. */
  readonly routing?:
    | string
    | { readonly strategy?: string | OwnStrategy | undefined; readonly [option: string]: unknown }
    | undefined;
  readonly affinity?: AffinityConfig['by'] | Loose<AffinityConfig> | null | undefined;
  /** Options, or replicas by tier: `[[first, …], [fallback, …]]`. */
  readonly tiers?:
    | TiersConfig['mode']
    | Loose<TiersConfig>
    | readonly (readonly ReplicaConfig[])[]
    | undefined;
  readonly equivalentTo?: string | readonly string[] | undefined;
  readonly cache?: CacheInput | undefined;
  readonly retry?: Layer<RetryConfig>;
  readonly breaker?: Layer<BreakerConfig>;
  readonly hedge?: Layer<HedgeConfig>;
  readonly adaptive?: Layer<AdaptiveConfig>;
  readonly batch?: Layer<BatchConfig>;
  /** A number is the rate per second. */
  readonly rateLimit?: number | false | null | Loose<RateLimitConfig> | undefined;
  readonly admission?: Loose<AdmissionConfig> | undefined;
  readonly outlier?: Layer<OutlierConfig>;
  readonly probe?: Layer<ProbeConfig>;
  readonly restart?: Loose<RestartConfig> | undefined;
  readonly stop?: Loose<StopConfig> | undefined;
  readonly limits?: Loose<Limits> | undefined;
  /** Credentials towards the server. A provider of the MCP SDK is taken as it is. */
  readonly auth?: AuthInput | object | false | null | undefined;
  readonly tls?: TlsInput | undefined;
  readonly trusted?: boolean | undefined;
  readonly allowInsecure?: boolean | undefined;
  /** `['*']` or a list of names (Copilot), or both directions. */
  readonly tools?: readonly string[] | Loose<ToolSelection> | undefined;
  readonly includeTools?: readonly string[] | undefined;
  readonly excludeTools?: readonly string[] | undefined;
  /** Whatever else a host's file carries is kept under `extensions`. */
  readonly [key: string]: unknown;
}

type Issuer = { readonly expectedIssuer?: string | undefined };

/** Exactly one of the ways, or the settings of `oauth` without more (as other hosts write them). */
export interface AuthInput {
  readonly bearer?: TokenSource | undefined;
  /** `redirectUrl` defaults to `http://localhost/callback`. */
  readonly oauth?: (Loose<OAuthConfig> & Issuer) | undefined;
  readonly clientCredentials?: (ClientCredentialsConfig & Issuer) | undefined;
  readonly privateKeyJwt?: (PrivateKeyJwtConfig & Issuer) | undefined;
  readonly crossApp?: (CrossAppConfig & Issuer) | undefined;
  readonly dpop?: boolean | undefined;
  readonly timeoutMs?: number | undefined;
  /** Who shares them: `server` (everybody), `tenant`, `principal`. */
  readonly per?: CredentialScope | undefined;
  readonly idleMs?: number | undefined;
}

export type CacheInput =
  | boolean
  | { readonly [K in keyof CacheConfig]?: boolean | Loose<CacheEntryConfig> | undefined };

export interface TlsInput {
  readonly ca?: string | Uint8Array | readonly (string | Uint8Array)[] | undefined;
  readonly cert?: string | Uint8Array | undefined;
  readonly key?: string | Uint8Array | undefined;
  readonly passphrase?: string | undefined;
  readonly servername?: string | undefined;
  readonly rejectUnauthorized?: boolean | undefined;
  /** Paths, read once when the configuration is read. */
  readonly caFile?: string | undefined;
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
}

/** Roots may be given by URI alone. */
export type HostInput = Omit<Host, 'roots'> & { readonly roots?: readonly (Root | string)[] | Host['roots'] };

export type ServersInput =
  | Readonly<Record<string, ServerConfig>>
  | ReadonlyMap<string, ServerConfig>
  | readonly ResolvedServer[];

/** What `createEngine` takes: this, the text of any MCP host's file as an object, or what `loadConfig` returned. */
export interface EngineConfig {
  readonly servers?: ServersInput | undefined;
  /** Alias of `servers`. */
  readonly mcpServers?: ServersInput | undefined;
  readonly naming?: Naming | undefined;
  readonly host?: HostInput | undefined;
  readonly interceptors?: readonly Interceptor[] | undefined;
  readonly routes?: readonly RouteConfig[] | undefined;
  readonly policy?: PolicyConfig | undefined;
  readonly principal?: Principal | string | undefined;
  readonly secure?: boolean | undefined;
  readonly audit?: AuditConfig | boolean | string | undefined;
  readonly pinning?: PinningConfig | boolean | undefined;
  readonly pool?: Loose<PoolConfig> | undefined;
  readonly cache?: CacheInput | undefined;
  readonly limits?: Loose<Limits> | undefined;
  readonly restart?: Loose<RestartConfig> | undefined;
  readonly stop?: Loose<StopConfig> | undefined;
  readonly timeoutMs?: number | undefined;
  readonly startTimeoutMs?: number | undefined;
  readonly listTimeoutMs?: number | undefined;
  readonly startConcurrency?: number | undefined;
  readonly spawnHelperAboveBytes?: number | undefined;
  readonly stateDir?: string | undefined;
  /** `{ key }`: 32 bytes or their text, a function, `{ env: 'NAME' }` or `{ keyring }`. */
  readonly vault?: VaultConfig | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
  readonly logger?: Logger | undefined;
  readonly [key: string]: unknown;
}

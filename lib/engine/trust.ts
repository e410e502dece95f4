import { createHash, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { Catalog } from '../catalog/catalog.ts';
import { fingerprintTool } from '../catalog/fingerprint.ts';
import type { Config, ResolvedServer } from '../config/config.ts';
import type { Clock } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';
import type { ListKind } from '../core/events.ts';
import { compose, type Handler, type Interceptor } from '../core/interceptor.ts';
import type { Json } from '../core/json-rpc.ts';
import type { Logger } from '../core/ports.ts';
import type { Principal, Request } from '../core/request.ts';
import { audit } from '../security/audit-interceptor.ts';
import { createAuditTrail, type AuditOptions } from '../security/audit.ts';
import { verifyAudit, type AuditVerdict } from '../security/audit-verify.ts';
import { createPins, type Pins, type Quarantine, type Sighting } from '../security/pinning.ts';
import {
  askPolicy,
  isThenable,
  type Decision,
  type Explanation,
  type HostOperation,
  type Operation,
  type PolicyEngine,
  type PolicyQuery,
} from '../security/policy-engine.ts';
import { policy } from '../security/policy-interceptor.ts';
import { operationOf, queryOf } from '../security/policy-request.ts';
import { isVisible } from '../security/policy-visibility.ts';
import { createPolicy, type PolicyOptions } from '../security/policy.ts';
import type { PolicyRule } from '../security/policy-rule.ts';
import { readableDefinition } from '../security/readable-definition.ts';
import type { Redactor } from '../security/redaction.ts';
import { memoryStore } from '../security/state-store.ts';
import type { EventBus } from '../telemetry/event-bus.ts';
import type { Asker } from './inbound.ts';
import { stateFile } from './state-file.ts';

/** What a principal can know of. Only there where a policy is. */
export interface Sight {
  /** Whether the thing may be seen; a policy that answers later counts as yes here, and decides on the request itself. */
  visible(
    principal: Principal | undefined,
    kind: ListKind,
  ): (server: string, originalName: string) => boolean;
  /** Nothing of the server may be seen by this principal: it does not exist. */
  hides(server: string, principal: Principal | undefined): boolean;
  /** The policy cannot be asked in passing: errors name nothing but what the caller said. */
  readonly vague: boolean;
}

/** Policy, audit and pins of one engine. What is not configured is not there: no layer, no cost. */
export interface Trust {
  /** Audit, policy, quarantine, in this order. */
  readonly layers: readonly Interceptor[];
  readonly sight: Sight | undefined;
  /** Runs what does not go down the request path under the same layers. */
  readonly guard: (request: Request, work: Handler) => Promise<Json>;
  /** Whether a server may ask the host; rejects with `denied`. */
  readonly permit: ((from: Asker, method: string) => void | Promise<void>) | undefined;
  /** A server has listed its tools: compare with what was accepted, before anybody sees them. */
  review(server: ResolvedServer, tools: readonly Json[]): void;
  /** Whether the tool waits for approval and is not shown. */
  readonly held: ((server: string, tool: string) => boolean) | undefined;
  approve(server: string, tool: string | undefined): void;
  explain(request: Request, located: Request | undefined): Promise<Explanation>;
  verify(): Promise<AuditVerdict>;
  /** The policy of another configuration; throws `config_invalid` and changes nothing. */
  reconfigure(next: Config): void;
  fleetChanged(): void;
  forget(server: string): void;
  close(): void;
}

export interface TrustDeps {
  readonly config: Config;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly bus: EventBus;
  readonly redactor: Redactor;
  readonly servers: () => Iterable<string>;
  readonly catalog: (principal: Principal | undefined) => Catalog;
  /** By which name the tools are pinned that a principal is shown: credentials of its own may show others. */
  readonly pinName: (server: string, principal: Principal | undefined) => string;
  /** The very error for a name that nobody knows, as far as `principal` can know. */
  readonly unknown: (request: Request) => TroupeError;
}

export function createTrust(deps: TrustDeps): Trust {
  const { config, clock, bus, redactor } = deps;
  let engine = policyOf(config, deps.servers);
  const guarded: PolicyEngine = {
    decide: (query) => (engine as PolicyEngine).decide(query),
    explain: (query) => explained(engine as PolicyEngine, query),
  };
  const sight = engine === undefined ? undefined : sightOf(guarded, deps, isBuiltIn(config));
  const pins = pinsOf(deps);
  const seen = new Map<string, ReadonlyMap<string, string>>();
  // Last, since it takes a lock: what can refuse the configuration has had its chance.
  const file = auditFile(config);
  const trail =
    file === undefined
      ? undefined
      : createAuditTrail({
          ...file,
          clock,
          redact: (fields) => redactor.value(fields) as typeof fields,
          onError: lost(deps, file),
        });
  const note = (fields: Json): void => {
    try {
      trail?.append('event', fields);
    } catch {
      // Told by the trail's `onError`; what happened has happened.
    }
  };
  const ends = trail === undefined ? [] : recordEvents(bus, note);

  const layers: Interceptor[] = [];
  if (trail !== undefined) layers.push(audit({ trail, clock }));
  if (engine !== undefined) {
    layers.push(
      policy({
        engine: guarded,
        notFound: deps.unknown,
        onDenied: ({ request, query, decision, visible }) =>
          note({
            event: 'denied',
            request: request.seq,
            operation: query.operation,
            server: query.server,
            tool: query.tool,
            resource: query.resource,
            prompt: query.prompt,
            principal: query.principal?.id,
            rule: decision.ruleId,
            visible,
          }),
      }),
    );
  }
  if (pins !== undefined) layers.push(quarantine(pins, seen, deps.pinName));

  return {
    layers,
    sight,
    guard:
      layers.length === 0
        ? (request, work) => work(request)
        : (request, work) => compose(layers, work)(request),
    permit: engine === undefined ? undefined : (from, method) => permit(guarded, from, method),
    review(server, tools) {
      if (pins === undefined) return;
      const sightings = new Map(
        tools.map((tool) => [String(tool['name']), sightingOf(tool, redactor)] as const),
      );
      seen.set(server.name, new Map([...sightings].map(([name, { fingerprint }]) => [name, fingerprint])));
      pins.review(server.name, { launch: launchOf(server, redactor), tools: sightings });
    },
    held: pins === undefined ? undefined : (server, tool) => pins.quarantined(server, tool) !== undefined,
    approve(server, tool) {
      if (pins === undefined)
        throw new TroupeError('unsupported', 'nothing is pinned; set pinning or secure', { server });
      pins.approve(server, tool);
      note({ event: 'approved', server, tool });
    },
    async explain(request, located) {
      const asked = located ?? request;
      const quarantined =
        asked.method === 'tools/call' && asked.server !== undefined
          ? pins?.quarantined(deps.pinName(asked.server, asked.principal), String(asked.params?.['name']))
          : undefined;
      const decision = engine === undefined ? NO_POLICY : await explained(engine, queryOf(asked, undefined));
      if (decision.effect === 'deny' || quarantined === undefined) return decision;
      return {
        effect: 'deny',
        ruleId: `pinning:${quarantined.reason}`,
        ruleSource: 'pinning',
        reason: quarantined.detail,
        missing: [],
        nearest: [],
      };
    },
    async verify() {
      if (trail === undefined || file === undefined)
        throw new TroupeError('unsupported', 'there is no audit trail; set audit to a file');
      return verifyAudit(file.path, {
        head: trail.head,
        ...(file.key === undefined ? {} : { key: file.key }),
      });
    },
    reconfigure(next) {
      if (next.policy === undefined && next.secure === config.secure) return;
      const another = policyOf(next, deps.servers);
      if (engine === undefined && another !== undefined) {
        throw new TroupeError(
          'config_invalid',
          'policy: an engine made without one cannot get one while it runs; make a new engine',
          { data: { field: 'policy' } },
        );
      }
      if (another !== undefined) engine = another;
    },
    fleetChanged: () => (engine as { renew?: () => void } | undefined)?.renew?.(),
    forget(server) {
      seen.delete(server);
    },
    close() {
      for (const end of ends) end();
      trail?.close();
    },
  };
}

const NO_POLICY: Explanation = Object.freeze({
  effect: 'allow',
  ruleId: 'default:no-policy',
  ruleSource: 'default',
  reason: 'the engine has no policy',
  missing: [],
  nearest: [],
});

function isBuiltIn({ policy: given }: Config): boolean {
  return given === undefined || !('decide' in given) || typeof given.decide !== 'function';
}

/** Rules, `{ rules, roles, conditions }`, or an engine of the host's own; `undefined` where nothing is restricted. */
function policyOf(
  config: Config,
  servers: () => Iterable<string>,
): (PolicyEngine & { renew?: () => void }) | undefined {
  const given = config.policy as unknown;
  if (given === undefined && !config.secure) return undefined;
  if (!isBuiltIn(config)) return given as PolicyEngine;
  if (typeof given === 'function' || given === null) {
    throw new TroupeError(
      'config_invalid',
      'policy: give a list of rules, { rules, roles?, conditions? }, or an object with decide(query)',
      { data: { field: 'policy' } },
    );
  }
  const { rules, roles, conditions, ...rest } = (
    Array.isArray(given) ? { rules: given as unknown } : (given ?? { rules: [] })
  ) as Record<string, unknown>;
  const unknown = Object.keys(rest)[0];
  if (unknown !== undefined || rules === undefined) {
    const field = unknown === undefined ? 'policy.rules' : `policy.${unknown}`;
    throw new TroupeError(
      'config_invalid',
      unknown === undefined
        ? `${field}: is missing; [] allows only what the configuration grants`
        : `${field}: is not an option; a policy has rules, roles, conditions`,
      { data: { field } },
    );
  }
  const { host, principal, secure } = config;
  const hostAnswers: HostOperation[] = [];
  if (host.sample !== undefined) hostAnswers.push('sampling');
  if (host.elicit !== undefined) hostAnswers.push('elicitation');
  if (host.roots !== undefined) hostAnswers.push('roots');
  const make = (): PolicyEngine =>
    createPolicy(rules as readonly PolicyRule[], {
      servers: servers(),
      hostAnswers,
      secure,
      ...(principal === undefined ? {} : { hostIds: [principal.id] }),
      ...(roles === undefined ? {} : { roles: roles as NonNullable<PolicyOptions['roles']> }),
      ...(conditions === undefined
        ? {}
        : { conditions: conditions as NonNullable<PolicyOptions['conditions']> }),
    });
  // Made at once, so that a bad rule is told by `createEngine`; again when the servers are others, at the next question.
  let made: PolicyEngine | undefined = make();
  return {
    decide: (query) => (made ??= make()).decide(query),
    explain: (query) => explained((made ??= make()), query),
    renew: () => (made = undefined),
  };
}

async function explained(engine: PolicyEngine, query: PolicyQuery): Promise<Explanation> {
  if (engine.explain !== undefined) return engine.explain(query);
  const decision: Decision = await askPolicy(engine, query);
  return { ...decision, missing: [], nearest: [] };
}

const SUBJECTS: Readonly<Record<ListKind, readonly [Operation, 'tool' | 'resource' | 'prompt']>> = {
  tools: ['tools.list', 'tool'],
  resources: ['resources.list', 'resource'],
  resourceTemplates: ['resources.list', 'resource'],
  prompts: ['prompts.list', 'prompt'],
};

function sightOf(engine: PolicyEngine, deps: TrustDeps, builtIn: boolean): Sight {
  const visible: Sight['visible'] = (principal, kind) => (server, name) => {
    const [operation, subject] = SUBJECTS[kind];
    const seen = isVisible(engine, { operation, principal, server, [subject]: name });
    return isThenable(seen) ? true : seen;
  };
  return {
    vague: !builtIn,
    visible,
    hides(server, principal) {
      if (!builtIn) return true;
      const reached = askPolicy(engine, { operation: 'server.connect', principal, server });
      if (!isThenable(reached) && reached.effect === 'allow') return false;
      const inventory = deps.catalog(principal).inventory(server);
      if (inventory === undefined) return true;
      return !(Object.keys(SUBJECTS) as ListKind[]).some((kind) => {
        const see = visible(principal, kind);
        return inventory[kind].items.some((item) =>
          see(
            server,
            String(
              kind === 'resources'
                ? item['uri']
                : kind === 'resourceTemplates'
                  ? item['uriTemplate']
                  : item['name'],
            ),
          ),
        );
      });
    },
  };
}

function permit(engine: PolicyEngine, { server, principal }: Asker, method: string): void | Promise<void> {
  const judge = ({ effect }: Decision): void => {
    if (effect !== 'allow')
      throw new TroupeError('denied', `the policy does not let it ask for ${method}`, {
        server,
        data: { reason: 'policy' },
      });
  };
  const decision = askPolicy(engine, { operation: operationOf(method), server, principal });
  return isThenable(decision) ? decision.then(judge) : judge(decision);
}

/** Below policy: who may not know a tool shall not learn that it is held. Nothing that is held is called or shown. */
function quarantine(
  pins: Pins,
  seen: ReadonlyMap<string, ReadonlyMap<string, string>>,
  pinName: TrustDeps['pinName'],
): Interceptor {
  return (next) => (request) => {
    const { method, principal } = request;
    if (request.server === undefined) return next(request);
    const pinned = pinName(request.server, principal);
    if (method === 'tools/list')
      return next(request).then((response) => withoutHeld(response, pinned, pins, seen.get(pinned)));
    if (method !== 'tools/call') return next(request);
    const held = pins.quarantined(pinned, String(request.params?.['name']));
    return held === undefined ? next(request) : Promise.reject(refusal(held, request.server));
  };
}

function refusal(
  { server: pinned, tool, reason, detail, diff, fingerprint }: Quarantine,
  server: string,
): TroupeError {
  return new TroupeError('denied', `${detail}; approve("${pinned}", "${tool}") accepts it`, {
    server,
    data: { reason, tool, diff, fingerprint },
  });
}

/** A list asked for directly may be newer than the one that was reviewed: what differs from it is not shown either. */
function withoutHeld(
  response: Json,
  server: string,
  pins: Pins,
  reviewed: ReadonlyMap<string, string> | undefined,
): Json {
  const { tools } = response;
  if (!Array.isArray(tools)) return response;
  return {
    ...response,
    tools: (tools as Json[]).filter((tool) => {
      const name = String(tool['name']);
      return pins.quarantined(server, name) === undefined && reviewed?.get(name) === fingerprintOf(tool);
    }),
  };
}

function pinsOf({ config, bus, clock }: TrustDeps): Pins | undefined {
  const { pinning, secure, stateDir } = config;
  if (pinning === false || (pinning === undefined && !secure)) return undefined;
  return createPins({
    ...pinning,
    // Without a directory to write to, what was accepted holds for the life of the engine.
    store: stateDir === undefined ? memoryStore() : stateFile(stateDir, 'pins.json'),
    onQuarantined: ({ server, tool, reason, diff }) =>
      bus.emit({ type: 'tool.quarantined', at: clock.wallTime(), server, tool, reason, diff }),
  });
}

function sightingOf(tool: Json, redactor: Redactor): Sighting {
  return { fingerprint: fingerprintOf(tool), text: () => redactor.text(readableDefinition(tool)) };
}

/** A definition too large to compare is like no other, not even like itself. */
function fingerprintOf(tool: Json): string {
  try {
    return fingerprintTool(tool);
  } catch {
    return `incomparable ${randomUUID()}`;
  }
}

/** How the server is reached, without what is secret: a token that is replaced is no other server. */
function launchOf({ replicas }: ResolvedServer, redactor: Redactor): Sighting | undefined {
  const places = replicas.flatMap(({ where }): Json[] => {
    if (where.kind === 'stdio') return [{ command: where.command, args: where.args, cwd: where.cwd }];
    if (where.kind === 'http' || where.kind === 'websocket')
      return [{ url: `${where.url.origin}${where.url.pathname}` }];
    return [];
  });
  if (places.length === 0) return undefined;
  const text = redactor.text(readableDefinition(places));
  return { fingerprint: createHash('sha256').update(text).digest('hex'), text: () => text };
}

function auditFile({
  audit: given,
  stateDir,
}: Config): (Omit<AuditOptions, 'clock' | 'redact'> & { readonly path: string }) | undefined {
  if (given === undefined) return undefined;
  const { file, ...rest } = given;
  if (file !== undefined) return { ...rest, path: file };
  if (stateDir === undefined) {
    throw new TroupeError('config_invalid', 'audit: no file is named; give audit.file, or stateDir', {
      data: { field: 'audit.file' },
    });
  }
  return { ...rest, path: join(stateDir, 'audit.jsonl') };
}

function lost({ logger }: TrustDeps, file: Pick<AuditOptions, 'onError'>): (error: TroupeError) => void {
  return (error) => {
    logger.error('an audit record was lost', { error: error.message });
    file.onError?.(error);
  };
}

/** What happens beside requests and should be known later. */
function recordEvents(bus: EventBus, note: (fields: Json) => void): ReadonlyArray<() => void> {
  return [
    bus.on('connection.changed', ({ connection, server, to, error }) => {
      if (to === 'Connected' || to === 'Error')
        note({
          event: to === 'Connected' ? 'connected' : 'connection failed',
          server,
          connection,
          code: error?.code,
        });
    }),
    bus.on('auth.required', ({ server, connection }) =>
      note({ event: 'credentials asked for', server, connection }),
    ),
    bus.on('server.asked', ({ server, connection, method, ok, error }) =>
      note({ event: 'server asked', server, connection, method, ok, code: error?.code }),
    ),
    bus.on('tool.quarantined', ({ server, tool, reason }) =>
      note({ event: 'quarantined', server, tool, reason }),
    ),
    bus.on('server.added', ({ server }) => note({ event: 'added', server })),
    bus.on('server.removed', ({ server }) => note({ event: 'removed', server })),
  ];
}

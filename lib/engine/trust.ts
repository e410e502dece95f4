import { join } from 'node:path';
import type { Catalog } from '../catalog/catalog.ts';
import type { Config, ResolvedServer } from '../config/config.ts';
import type { Clock } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';
import { compose, type Handler, type Interceptor } from '../core/interceptor.ts';
import type { Json } from '../core/json-rpc.ts';
import type { Logger } from '../core/ports.ts';
import type { Principal, Request } from '../core/request.ts';
import type { Stages } from '../core/stages.ts';
import { auditLayers } from '../security/audit-interceptor.ts';
import { createAuditTrail, type AuditOptions, type AuditTrail } from '../security/audit.ts';
import type { AuditFields } from '../security/audit-record.ts';
import { verifyAudit, type AuditVerdict } from '../security/audit-verify.ts';
import {
  askPolicy,
  isThenable,
  type Decision,
  type Explanation,
  type PolicyEngine,
  type PolicyQuery,
} from '../security/policy-engine.ts';
import { policy } from '../security/policy-interceptor.ts';
import { operationOf, queryOf } from '../security/policy-request.ts';
import type { Redactor } from '../security/redaction.ts';
import type { EventBus } from '../telemetry/event-bus.ts';
import { recordEvents } from './audit-notes.ts';
import type { Asker } from './inbound.ts';
import { tellLookalikes } from './lookalikes.ts';
import { createPinnedTools, type Fingerprints, type PinnedTools, type Refusal } from './pinned-tools.ts';
import { explained, isBuiltIn, policyOf } from './policy-of.ts';
import { createSight, type Sight } from './sight.ts';

/** Policy, audit and pins of one engine. What is not configured is not there: no layer, no cost. */
export interface Trust {
  /** Outermost: one intent and one outcome per operation, however it ends. */
  readonly record: readonly Interceptor[];
  /** Where the server is known: the intent, policy, quarantine, in this order. */
  readonly layers: readonly Interceptor[];
  readonly sight: Sight | undefined;
  /** Runs what does not go down the request path as one operation of the audit trail. */
  readonly recorded: (request: Request, work: Handler) => Promise<Json>;
  /** Runs a part of it, for one server or for all, under the layers of the path. */
  readonly guard: (request: Request, work: Handler) => Promise<Json>;
  /** Whether a request may go to yet another server, below the layers. Never throws; `undefined`: always. */
  readonly admits: ((request: Request) => boolean | Promise<boolean>) | undefined;
  /**
   * Whether what a request has begun may go on under the policy as it is now; a refusal is on record. A policy that does
   * not answer within the time of the configuration has refused. Never throws.
   */
  goesOn(request: Request): boolean | Promise<boolean>;
  /** Whether who watches may hear of the resource of `request` too: of one below the other. Nothing ends with a no. */
  mayHear(request: Request): boolean | Promise<boolean>;
  /** Another number after every change of the policy. */
  readonly policyRevision: () => number;
  /** Whether a server may ask the host; rejects with `denied`. */
  readonly permit: ((from: Asker, method: string) => void | Promise<void>) | undefined;
  /** A server has listed its tools: compare with what was accepted, before anybody sees them. */
  review(server: ResolvedServer, tools: readonly Json[]): void;
  /** Why a call is not made of what is pinned; undefined where nothing is. */
  readonly refusal: Refusal | undefined;
  /** What tools are, by their names; undefined where nothing is pinned. */
  readonly fingerprints: ((tools: readonly Json[]) => Fingerprints) | undefined;
  /** Whether the tool waits for approval and is not shown. */
  readonly held: ((server: string, tool: string) => boolean) | undefined;
  approve(server: string, tool: string | undefined): void;
  explain(request: Request, located: Request | undefined): Promise<Explanation>;
  verify(): Promise<AuditVerdict>;
  /** The policy of another configuration; throws `config_invalid` and changes nothing. True where there is another now. */
  reconfigure(next: Config): boolean;
  /** A credential towards a server was obtained, or is sent for the first time. */
  credentialUsed(server: string): void;
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
  readonly stages: Stages;
  readonly servers: () => Iterable<string>;
  readonly catalog: (principal: Principal | undefined) => Catalog;
  /** By which name the tools are pinned that a principal is shown: credentials of its own may show others. */
  readonly pinName: (server: string, principal: Principal | undefined) => string;
  /** With which kind of credentials a server is reached. */
  readonly credentials: (server: string) => string | undefined;
  /** The very error for a name that nobody knows, as far as `principal` can know. */
  readonly unknown: (request: Request) => TroupeError;
}

export function createTrust(deps: TrustDeps): Trust {
  const { config, clock, bus, redactor, stages } = deps;
  let engine = policyOf(config, deps.servers);
  let builtIn = isBuiltIn(config);
  let revision = 0;
  const guarded: PolicyEngine = {
    decide: (query) => (engine as PolicyEngine).decide(query),
    explain: (query) => explained(engine as PolicyEngine, query),
    rulesOut: (server, principal) => engine?.rulesOut?.(server, principal) === true,
  };
  const sight =
    engine === undefined
      ? undefined
      : createSight({ engine: guarded, catalog: deps.catalog, builtIn: () => builtIn });
  const pins = createPinnedTools(deps);
  // Last, since it takes a lock: what can refuse the configuration has had its chance.
  const file = auditFile(config);
  const trail =
    file === undefined
      ? undefined
      : opened({
          ...file,
          clock,
          redact: (fields) => redactor.value(fields) as typeof fields,
          onError: lost(deps, file),
        });
  const note = (fields: Json): void => noteIn(trail, fields);
  const denied = (request: Request, query: PolicyQuery, decision: Decision, visible: boolean): void =>
    note(denialOf(request, query, decision, visible));
  const ends = [
    ...tellLookalikes({ ...deps, catalog: () => deps.catalog(undefined) }),
    ...(trail === undefined ? [] : recordEvents({ bus, note, credentials: deps.credentials })),
  ];

  const audited = trail === undefined ? undefined : auditLayers({ trail, clock, stages });
  const record = audited === undefined ? [] : [audited.whole];
  const layers: Interceptor[] = audited === undefined ? [] : [audited.before];
  if (engine !== undefined) {
    layers.push(
      policy({
        engine: guarded,
        notFound: deps.unknown,
        nothingSeen: (server, principal) =>
          deps.catalog(principal).inventory(server) !== undefined &&
          (sight?.hides(server, principal) ?? false),
        onDenied: ({ request, query, decision, visible }) => denied(request, query, decision, visible),
        stages,
      }),
    );
  }
  if (pins !== undefined) layers.push(pins.layer);

  return {
    record,
    layers,
    sight,
    recorded: under(record),
    guard: under(layers),
    admits:
      layers.length === 0
        ? undefined
        : (request) => {
            if (pins?.held(request) !== undefined) return false;
            if (engine === undefined) return recordAgain(trail, request);
            const query = queryOf(request, undefined);
            const judge = (decision: Decision): boolean => {
              if (decision.effect === 'allow') return recordAgain(trail, request);
              denied(request, query, decision, true);
              return false;
            };
            const decision = askPolicy(guarded, query);
            return isThenable(decision) ? decision.then(judge) : judge(decision);
          },
    goesOn(request) {
      if (engine === undefined) return true;
      const query = queryOf(request, undefined);
      const judge = (decision: Decision): boolean => {
        if (decision.effect === 'allow') return true;
        note({ ...denialOf(request, query, decision, false), event: 'subscription ended' });
        return false;
      };
      const decision = askPolicy(guarded, query);
      return isThenable(decision) ? answered(clock, config.timeoutMs, decision).then(judge) : judge(decision);
    },
    mayHear(request) {
      if (engine === undefined) return true;
      const decision = askPolicy(guarded, queryOf(request, undefined));
      const judge = ({ effect }: Decision): boolean => effect === 'allow';
      return isThenable(decision) ? answered(clock, config.timeoutMs, decision).then(judge) : judge(decision);
    },
    policyRevision: () => revision,
    permit: engine === undefined && trail === undefined ? undefined : permitOf(engine && guarded, trail),
    review: (server, tools) => pins?.review(server, tools),
    refusal: pins?.refusal,
    fingerprints: pins?.fingerprints,
    held: pins === undefined ? undefined : (server, tool) => pins.quarantined(server, tool) !== undefined,
    approve(server, tool) {
      if (pins === undefined)
        throw new TroupeError('unsupported', 'nothing is pinned; set pinning or secure', { server });
      approve(pins, trail, server, tool);
    },
    async explain(request, located) {
      const asked = located ?? request;
      const quarantined = pins?.held(asked);
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
      if (next.policy === undefined && next.secure === config.secure) return false;
      const another = policyOf(next, deps.servers);
      if (engine === undefined && another !== undefined) {
        throw new TroupeError(
          'config_invalid',
          'policy: an engine made without one cannot get one while it runs; make a new engine',
          { data: { field: 'policy' } },
        );
      }
      if (another === undefined) return false;
      engine = another;
      builtIn = isBuiltIn(next);
      revision += 1;
      note({ event: 'policy changed' });
      return true;
    },
    credentialUsed: (server) => note({ event: 'credential used', server, via: deps.credentials(server) }),
    fleetChanged: () => (engine as { renew?: () => void } | undefined)?.renew?.(),
    forget: (server) => pins?.forget(server),
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

function under(layers: readonly Interceptor[]): (request: Request, work: Handler) => Promise<Json> {
  return layers.length === 0
    ? (request, work) => work(request)
    : (request, work) => compose(layers, work)(request);
}

/** What happened beside operations: it has happened, whether it can be written or not. */
function noteIn(trail: AuditTrail | undefined, fields: AuditFields): void {
  try {
    trail?.append('event', fields);
  } catch {
    // Told by the trail's `onError`.
  }
}

/** The decision, or a refusal where it does not come in time; `askPolicy` never rejects. */
function answered(clock: Clock, timeoutMs: number, decision: Promise<Decision>): Promise<Decision> {
  return new Promise((resolve) => {
    const disarm = clock.after(
      timeoutMs,
      () => resolve({ ...SILENT, reason: `no answer in ${timeoutMs} ms` }),
      {
        unref: true,
      },
    );
    void decision.then((given) => {
      disarm();
      resolve(given);
    });
  });
}

const SILENT = { effect: 'deny', ruleId: 'default:engine-failed', ruleSource: 'default' } as const;

/** Why, for the trail; the caller is told less. */
function denialOf(request: Request, query: PolicyQuery, decision: Decision, visible: boolean): Json {
  return {
    event: 'denied',
    request: request.seq,
    operation: query.operation,
    server: query.server,
    tool: query.tool,
    resource: query.resource,
    prompt: query.prompt,
    principal: query.principal?.id,
    rule: decision.ruleId,
    reason: decision.reason,
    visible,
  };
}

/** The operation goes to another server than its intent says; not without that being on record. */
function recordAgain(trail: AuditTrail | undefined, { seq, method, server, target }: Request): boolean {
  try {
    trail?.append('event', { event: 'asked again', request: seq, method, server, target });
    return true;
  } catch {
    return false;
  }
}

function approve(
  pins: PinnedTools,
  trail: AuditTrail | undefined,
  server: string,
  tool: string | undefined,
): void {
  // Before it counts: nothing is accepted that is not on record.
  trail?.append('event', { event: 'approving', server, tool });
  try {
    pins.approve(server, tool);
  } catch (error) {
    noteIn(trail, { event: 'approval failed', server, tool, code: TroupeError.from(error).code });
    throw error;
  }
  noteIn(trail, { event: 'approved', server, tool });
}

/** Policy, then audit: the host is not asked for what is not on record. */
function permitOf(
  engine: PolicyEngine | undefined,
  trail: AuditTrail | undefined,
): NonNullable<Trust['permit']> {
  return ({ server, connection, principal }, method) => {
    const judge = ({ effect, ruleId, reason }: Decision): void => {
      if (effect === 'allow') {
        trail?.append('event', {
          event: 'server asks',
          server,
          connection,
          method,
          principal: principal?.id,
        });
        return;
      }
      noteIn(trail, { event: 'denied', operation: operationOf(method), server, rule: ruleId, reason });
      throw new TroupeError('denied', `the policy does not let it ask for ${method}`, {
        server,
        data: { reason: 'policy' },
      });
    };
    if (engine === undefined) return judge(NO_POLICY);
    const decision = askPolicy(engine, { operation: operationOf(method), server, principal });
    return isThenable(decision) ? decision.then(judge) : judge(decision);
  };
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

/** Whatever is wrong with the file, the field of the configuration is named. */
function opened(options: AuditOptions): AuditTrail {
  try {
    return createAuditTrail(options);
  } catch (cause) {
    const error = TroupeError.from(cause);
    throw error.with({ data: { field: 'audit.file', ...(error.data as object | undefined) } });
  }
}

function lost({ logger }: TrustDeps, file: Pick<AuditOptions, 'onError'>): (error: TroupeError) => void {
  return (error) => {
    logger.error('an audit record was lost', { error: error.message });
    file.onError?.(error);
  };
}

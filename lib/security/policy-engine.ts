import type { Json } from '../core/json-rpc.ts';
import type { Principal } from '../core/request.ts';

/** What a caller does with a server. A rule that allows without naming operations means these. */
export const USE_OPERATIONS = [
  'tools.call',
  'tools.list',
  'resources.read',
  'resources.subscribe',
  'resources.list',
  'prompts.get',
  'prompts.list',
  'completion',
  'logging',
  'server.connect',
] as const;

/** What a server asks of the host. */
export const HOST_OPERATIONS = ['sampling', 'elicitation', 'roots'] as const;

export type HostOperation = (typeof HOST_OPERATIONS)[number];

/**
 * What is decided about. `admin.*` changes the engine itself (`admin.add`, `admin.approve` …); `vendor` is any method
 * that MCP does not define, named in `method`.
 */
export type Operation = (typeof USE_OPERATIONS)[number] | HostOperation | 'vendor' | `admin.${string}`;

/** May this principal do this with that? */
export interface PolicyQuery {
  readonly operation: Operation;
  /** The method, where the operation is `vendor`. */
  readonly method?: string | undefined;
  /** Absent: the embedding host itself. */
  readonly principal?: Principal | undefined;
  /** Configured name of the server, never what it calls itself. Absent: not known. */
  readonly server?: string | undefined;
  /** Original name of the tool. */
  readonly tool?: string | undefined;
  /** URI or URI template of the resource. */
  readonly resource?: string | undefined;
  /** Original name of the prompt. */
  readonly prompt?: string | undefined;
  /** For conditions only. */
  readonly arguments?: Json | undefined;
  /**
   * Asked for a list: is there anything with which it could be allowed? A condition that looks at the arguments cannot say;
   * it forbids nothing here, and what it allows may be seen.
   */
  readonly anyArguments?: boolean | undefined;
  /** Verified claims of the caller's token, for conditions only (`jwt.*` in CEL). */
  readonly claims?: Json | undefined;
}

export interface Decision {
  readonly effect: 'allow' | 'deny';
  /** The rule that decided: its id, `config:<server>` for what the configuration grants, `default:…` where no rule did. */
  readonly ruleId: string;
  /** Where the rule stands, `policy.rules[3]` for example. */
  readonly ruleSource: string;
  readonly reason: string;
}

/** How near a rule came to allowing. */
export interface NearRule {
  readonly ruleId: string;
  readonly ruleSource: string;
  /** What did not fit, one sentence each. */
  readonly unmet: readonly string[];
}

export interface Explanation extends Decision {
  /** Roles and capabilities (`role:…`, `capability:…`) that would have made a rule allow that fits in all else. */
  readonly missing: readonly string[];
  /** At most three allowing rules, the nearest first; empty when allowed. */
  readonly nearest: readonly NearRule[];
}

/**
 * Who decides. The built-in one is made of `policy: [rules]`; Cedar, OPA or a service can stand in its place. An engine that
 * throws, rejects or answers anything but a decision has denied, and so has one that has not answered when the time of the
 * request is over. Where no rule said anything about it, let `ruleId` be `default:deny`: a list then shows what may be
 * used although nothing grants the sight of it. One that answers at once is asked about each item of a list, one after
 * the other; one that answers with promises is asked about all of them at the same time.
 */
export interface PolicyEngine {
  decide(query: PolicyQuery): Decision | Promise<Decision>;
  explain?(query: PolicyQuery): Explanation | Promise<Explanation>;
  /**
   * True where it is certain that the principal may use nothing of the server, whatever is asked: a lazy server is then not
   * woken for its lists. Absent, or anything but true: it may.
   */
  rulesOut?(server: string, principal: Principal | undefined): boolean;
}

/** Asks an engine and never throws: what is not a clear yes is a no. */
export function askPolicy(engine: PolicyEngine, query: PolicyQuery): Decision | Promise<Decision> {
  try {
    const decision = engine.decide(query);
    return isThenable(decision) ? Promise.resolve(decision).then(checked, failed) : checked(decision);
  } catch (error) {
    return failed(error);
  }
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function';
}

function checked(decision: Decision): Decision {
  const effect = (decision as Decision | null | undefined)?.effect;
  return effect === 'allow' || effect === 'deny'
    ? decision
    : failed(new TypeError('it answered no decision'));
}

function failed(error: unknown): Decision {
  const text = error instanceof Error ? error.message : String(error);
  return {
    effect: 'deny',
    ruleId: 'default:engine-failed',
    ruleSource: 'default',
    reason: `the policy engine failed: ${text}`,
  };
}

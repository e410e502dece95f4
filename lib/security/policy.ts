import { TroupeError, errorText } from '../core/errors.ts';
import type { Principal } from '../core/request.ts';
import { createCel } from './cel.ts';
import type { Condition, ConditionEvaluator } from './policy-condition.ts';
import { HOST_OPERATIONS, USE_OPERATIONS } from './policy-engine.ts';
import type { Decision, Explanation, HostOperation, PolicyEngine, PolicyQuery } from './policy-engine.ts';
import { nearestRules } from './policy-explain.ts';
import { applies, Asked } from './policy-match.ts';
import { ruledOut } from './policy-reach.ts';
import { compileRule } from './policy-rule.ts';
import type { CompiledRule, PolicyRule } from './policy-rule.ts';
import { normaliseUri } from './uri.ts';
import type { NormalUri } from './uri.ts';

export interface RoleDefinition {
  /** What everyone with this role may count on. */
  readonly capabilities?: readonly string[];
}

export interface PolicyOptions {
  /**
   * Names of the configured servers: each is the explicit grant to the embedding host, shown as rule `config:<server>`;
   * that the host rules its own engine (`admin.*`) is rule `config:host`. Absent: the configuration grants nothing.
   */
  readonly servers?: Iterable<string>;
  /** Callbacks the host has given; giving one grants it to the configured servers, shown as `config:host.<operation>`. */
  readonly hostAnswers?: readonly HostOperation[];
  /** Principal ids that are the embedding host too, beside requests without a principal. */
  readonly hostIds?: readonly string[];
  /** Nothing is granted but by rules. Default false. */
  readonly secure?: boolean;
  /** All roles there are. Given: a rule with another role is refused, and another role of a principal counts for nothing. */
  readonly roles?: Readonly<Record<string, RoleDefinition>>;
  /** What a `when` that is text is written in. Default: CEL. */
  readonly conditions?: ConditionEvaluator;
  /** Where the rules come from, for explanations. Default `policy.rules`. */
  readonly source?: string;
}

/** The built-in engine answers at once. */
export interface RulePolicy extends PolicyEngine {
  decide(query: PolicyQuery): Decision;
  explain(query: PolicyQuery): Explanation;
  rulesOut(server: string, principal: Principal | undefined): boolean;
}

/** Id of the embedding host in rules; no principal from outside can bear an id that begins with `@`. */
const HOST_PRINCIPAL: Principal = Object.freeze({ id: '@host' });

/** Rules of one operation, those that deny first. */
interface Bucket {
  readonly deny: CompiledRule[];
  readonly allow: CompiledRule[];
  /** Some rule says which resources it is about. */
  resources: boolean;
  /** Some rule has a condition, which may look at the resource. */
  conditions: boolean;
}

const MAX_ATTRIBUTE = 8192;
const URIS_REMEMBERED = 256;

const NO_RULES: Bucket = { deny: [], allow: [], resources: false, conditions: false };
const EVERYTHING = { resources: true, conditions: true } as const;
const NOTHING = { resources: false, conditions: false } as const;
const NO_RULE = fixed('deny', 'default:deny', 'no rule allows it');
const UNKNOWN_OPERATION = fixed('deny', 'default:unknown-operation', 'the operation is not known');
const BAD_PRINCIPAL = fixed(
  'deny',
  'default:bad-principal',
  'the principal has no usable id, roles or capabilities',
);
const BAD_QUERY = fixed(
  'deny',
  'default:bad-query',
  'a part of the query is no text or longer than 8192 characters',
);
const BAD_URI = fixed(
  'deny',
  'default:bad-uri',
  'the URI can be read in more than one way (broken or nested encoding, control characters)',
);

/** Questions that no rule could have answered. */
const HOPELESS: ReadonlySet<string> = new Set(['default:unknown-operation', 'default:error']);

/**
 * A rule engine in memory. A rule that denies wins over all that allow; where no rule allows, the answer is no; an
 * error on the way is a no. Pure: rules are checked and indexed once (`config_invalid` names the field), deciding reads them.
 */
export function createPolicy(rules: readonly PolicyRule[], options: PolicyOptions = {}): RulePolicy {
  const source = options.source ?? 'policy.rules';
  if (!isList(rules))
    throw new TroupeError('config_invalid', `${source}: must be a list of rules`, {
      data: { field: source },
    });
  const roles = options.roles === undefined ? undefined : new Map(Object.entries(options.roles));
  const known = roles === undefined ? undefined : new Set(roles.keys());
  const conditions = options.conditions ?? createCel();
  const compiled = rules.map((rule, i) => compileRule(rule, `${source}[${i}]`, known, conditions));
  refuseTwins(compiled);
  const roleCapabilities = new Map(
    [...(roles ?? [])].map(([role, definition]) => [role, new Set(definition.capabilities ?? [])] as const),
  );
  return rulePolicy(indexed(compiled), grantsOf(options), roleCapabilities, compiled);
}

function rulePolicy(
  index: ReadonlyMap<string, Bucket>,
  grants: Grants,
  roleCapabilities: Asked['roleCapabilities'],
  compiled: readonly CompiledRule[],
): RulePolicy {
  const spelling = rememberedUris();

  const ask = (
    query: PolicyQuery,
    { resources, conditions }: Pick<Bucket, 'resources' | 'conditions'>,
  ): Asked | Decision => {
    const { principal, resource } = query;
    if (
      !isText(query.server) ||
      !isText(query.tool) ||
      !isText(query.prompt) ||
      !isText(resource) ||
      !isText(query.method)
    ) {
      return BAD_QUERY;
    }
    if (principal !== undefined && !isSound(principal)) return BAD_PRINCIPAL;
    const uri = resource === undefined || !(resources || conditions) ? undefined : spelling(resource);
    if (uri === undefined && resource !== undefined && resources) return BAD_URI;
    return new Asked(query, principal ?? HOST_PRINCIPAL, uri, roleCapabilities);
  };

  const decide = (query: PolicyQuery): Decision => {
    try {
      const bucket = index.get(familyOf(query.operation));
      if (bucket === undefined) return UNKNOWN_OPERATION;
      const asked = ask(query, bucket);
      if ('effect' in asked) return asked;
      return firstOf(bucket.deny, asked) ?? grants(query) ?? firstOf(bucket.allow, asked) ?? NO_RULE;
    } catch (error) {
      return fixed('deny', 'default:error', `deciding failed: ${errorText(error)}`);
    }
  };

  return {
    decide,
    explain(query) {
      const decision = decide(query);
      const none = { ...decision, missing: [], nearest: [] };
      if (decision.effect === 'allow' || HOPELESS.has(decision.ruleId)) return none;
      const asked = ask(query, EVERYTHING);
      return 'effect' in asked
        ? none
        : { ...decision, ...nearestRules(compiled, asked, familyOf(query.operation)) };
    },
    rulesOut(server, principal) {
      const asked = ask({ operation: 'server.connect', server, principal }, NOTHING);
      return 'effect' in asked || ruledOut((operation) => index.get(operation) ?? NO_RULES, grants, asked);
    },
  };
}

/** The decision of the first rule that applies. A condition that throws denies, whichever rule it belongs to. */
function firstOf(rules: readonly CompiledRule[], asked: Asked): Decision | undefined {
  for (let i = 0; i < rules.length; i++) {
    const rule = rules[i]!;
    if (!applies(rule, asked)) continue;
    if (rule.when === undefined) return rule.decision;
    try {
      if (holds(rule, rule.when, asked)) return rule.decision;
    } catch (error) {
      const { ruleId, ruleSource } = rule.decision;
      return {
        effect: 'deny',
        ruleId,
        ruleSource,
        reason: `the condition of rule "${ruleId}" failed: ${errorText(error)}`,
      };
    }
  }
  return undefined;
}

/**
 * For a list nobody knows the arguments yet. A condition whose answer hangs on them holds where it allows, and not where it
 * denies: with some arguments it may be allowed. One that comes to an answer without them has answered.
 */
function holds({ allows }: CompiledRule, when: Condition, asked: Asked): boolean {
  const { traits } = asked;
  const query = inOneSpelling(asked);
  if (!traits.lists && query.anyArguments !== true) return when(query);
  const open: PolicyQuery = {
    ...query,
    get arguments(): never {
      throw ARGUMENTS_UNKNOWN;
    },
  };
  try {
    return when(open);
  } catch (error) {
    if (stemsFrom(error, ARGUMENTS_UNKNOWN)) return allows;
    throw error;
  }
}

/** A condition sees a resource spelled in one way only; one that has none cannot be looked at. */
function inOneSpelling({ query, uri }: Asked): PolicyQuery {
  if (uri !== undefined) return { ...query, resource: uri.full };
  if (query.resource === undefined) return query;
  return {
    ...query,
    get resource(): never {
      throw new Error(BAD_URI.reason);
    },
  };
}

const ARGUMENTS_UNKNOWN = new Error('the arguments are not known');
const MAX_CAUSES = 8;

function stemsFrom(error: unknown, origin: Error): boolean {
  let at: unknown = error;
  for (let i = 0; i < MAX_CAUSES && at !== undefined && at !== null; i++) {
    if (at === origin) return true;
    at = (at as { cause?: unknown }).cause;
  }
  return false;
}

function familyOf(operation: string): string {
  return operation.startsWith('admin.') && operation.length > 'admin.'.length ? 'admin' : operation;
}

const FAMILIES: readonly string[] = [...USE_OPERATIONS, ...HOST_OPERATIONS, 'vendor', 'admin'];

function indexed(rules: readonly CompiledRule[]): ReadonlyMap<string, Bucket> {
  const index = new Map<string, Bucket>(
    FAMILIES.map((family) => [family, { deny: [], allow: [], resources: false, conditions: false }]),
  );
  // Rules without a condition are asked first: they are cheaper and cannot fail.
  for (const rule of [
    ...rules.filter((rule) => rule.when === undefined),
    ...rules.filter((rule) => rule.when !== undefined),
  ]) {
    for (const family of rule.families) {
      const bucket = index.get(family);
      if (bucket === undefined) continue;
      (rule.allows ? bucket.allow : bucket.deny).push(rule);
      if (rule.resources !== undefined) bucket.resources = true;
      if (rule.when !== undefined) bucket.conditions = true;
    }
  }
  return index;
}

/** What the configuration itself grants to the host. */
type Grants = (query: PolicyQuery) => Decision | undefined;

function grantsOf(options: PolicyOptions): Grants {
  if (options.secure === true || options.servers === undefined) return () => undefined;
  const use: ReadonlySet<string> = new Set([...USE_OPERATIONS, 'vendor']);
  const hosts = new Set(options.hostIds);
  const servers = new Map(
    [...options.servers].map((name) => [
      name,
      fixed('allow', `config:${name}`, `server "${name}" is configured`, `servers.${name}`),
    ]),
  );
  const answers = new Map<string, Decision>(
    (options.hostAnswers ?? []).map((operation) => [
      operation,
      fixed('allow', `config:host.${operation}`, `the host answers ${operation}`, 'host'),
    ]),
  );
  const host = fixed('allow', 'config:host', 'the embedding host rules its own engine', 'config');
  return (query) => {
    const { operation, principal, server } = query;
    const granted = server === undefined ? undefined : servers.get(server);
    const answer = answers.get(operation);
    if (answer !== undefined) return granted === undefined ? undefined : answer;
    if (principal !== undefined && !hosts.has(principal.id)) return undefined;
    if (operation.startsWith('admin.')) return host;
    return use.has(operation) ? granted : undefined;
  };
}

function refuseTwins(rules: readonly CompiledRule[]): void {
  const seen = new Map<string, string>();
  for (const { decision } of rules) {
    const first = seen.get(decision.ruleId);
    if (first !== undefined) {
      const field = `${decision.ruleSource}.id`;
      throw new TroupeError(
        'config_invalid',
        `${field}: "${decision.ruleId}" is the id of ${first} already`,
        { data: { field } },
      );
    }
    seen.set(decision.ruleId, decision.ruleSource);
  }
}

function isList(value: unknown): boolean {
  return Array.isArray(value);
}

function isText(value: unknown): boolean {
  return value === undefined || (typeof value === 'string' && value.length <= MAX_ATTRIBUTE);
}

/** A principal that is `null` is nobody, not the host: whoever looked one up and found none must not become it. */
function isSound(principal: Principal | null): boolean {
  if (principal === null) return false;
  const { id, roles, capabilities } = principal as { id?: unknown; roles?: unknown; capabilities?: unknown };
  if (typeof id !== 'string' || id === '' || id.length > MAX_ATTRIBUTE || id.startsWith('@')) return false;
  return (
    (roles === undefined || Array.isArray(roles)) &&
    (capabilities === undefined || Array.isArray(capabilities))
  );
}

/** The same few URIs are asked about again and again; normalising costs more than deciding. */
function rememberedUris(): (uri: string) => NormalUri | undefined {
  let memory = new Map<string, NormalUri | undefined>();
  return (uri) => {
    if (memory.has(uri)) return memory.get(uri);
    const normal = normaliseUri(uri);
    if (memory.size >= URIS_REMEMBERED) memory = new Map();
    memory.set(uri, normal);
    return normal;
  };
}

function fixed(effect: 'allow' | 'deny', ruleId: string, reason: string, ruleSource = 'default'): Decision {
  return Object.freeze({ effect, ruleId, ruleSource, reason });
}

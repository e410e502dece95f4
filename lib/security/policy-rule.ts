import { TroupeError, errorText } from '../core/errors.ts';
import { compileGlobs } from './glob.ts';
import type { Matcher } from './glob.ts';
import { conditionOf } from './policy-condition.ts';
import type { Condition, ConditionEvaluator } from './policy-condition.ts';
import { HOST_OPERATIONS, USE_OPERATIONS } from './policy-engine.ts';
import type { Decision, PolicyQuery } from './policy-engine.ts';
import { normaliseUriPattern } from './uri.ts';

/**
 * One rule. A field that is absent does not restrict; a list means one of them, `capabilities` all of them. `tools`,
 * `resources` and `prompts` say which of each: a rule with `tools` only is about tools and nothing else.
 */
export interface PolicyRule {
  /** Shown in explanations and in the audit trail. Default: where it stands, `policy.rules[3]`. */
  readonly id?: string | undefined;
  readonly effect: 'allow' | 'deny';
  readonly roles?: readonly string[] | undefined;
  /** Globs over principal ids; the embedding host itself is `@host`. */
  readonly principals?: readonly string[] | undefined;
  readonly capabilities?: readonly string[] | undefined;
  /**
   * Names or globs, and `vendor:<glob over the method>`. Default for `deny`: everything. Default for `allow`: what a
   * caller does with servers; what changes the engine (`admin.*`) or is asked of the host must be named.
   */
  readonly operations?: readonly string[] | undefined;
  /** Globs over configured names. */
  readonly servers?: readonly string[] | undefined;
  /** Globs over original names. */
  readonly tools?: readonly string[] | undefined;
  /** Globs over URIs: `*` stops at `/`, `**` does not. */
  readonly resources?: readonly string[] | undefined;
  /** Globs over original names. */
  readonly prompts?: readonly string[] | undefined;
  /** A further condition: a function, or text in CEL (or for the evaluator that was given). One that throws denies. */
  readonly when?: string | ((query: PolicyQuery) => boolean) | undefined;
}

export interface CompiledRule {
  readonly allows: boolean;
  readonly decision: Decision;
  /** Keys of the index: known operations, `admin` and `vendor`. */
  readonly families: readonly string[];
  /** Which of the open families; absent: all of them. */
  readonly admin: Matcher | undefined;
  readonly vendor: Matcher | undefined;
  readonly roles: readonly string[] | undefined;
  readonly principals: Matcher | undefined;
  readonly capabilities: readonly string[] | undefined;
  readonly servers: Matcher | undefined;
  /** It names tools, resources or prompts and is about nothing else. */
  readonly named: boolean;
  readonly tools: Matcher | undefined;
  readonly resources: Matcher | undefined;
  readonly prompts: Matcher | undefined;
  readonly when: Condition | undefined;
  readonly rule: PolicyRule;
}

const KNOWN: readonly string[] = [...USE_OPERATIONS, ...HOST_OPERATIONS];
const LISTS = [
  'roles',
  'principals',
  'capabilities',
  'operations',
  'servers',
  'tools',
  'resources',
  'prompts',
] as const;
const FIELDS: ReadonlySet<string> = new Set(['id', 'effect', 'when', ...LISTS]);

/** Checks a rule as it came from a configuration and makes it ready. Throws `config_invalid` naming the field. */
export function compileRule(
  rule: PolicyRule,
  source: string,
  roles: ReadonlySet<string> | undefined,
  evaluator: ConditionEvaluator,
): CompiledRule {
  checkShape(rule, source);
  for (const role of rule.roles ?? []) {
    if (roles !== undefined && !roles.has(role))
      throw invalid(`${source}.roles`, `role "${role}" is not defined`);
  }
  const id = rule.id ?? source;
  const allows = rule.effect === 'allow';
  const names = (field: 'principals' | 'servers' | 'tools' | 'prompts'): Matcher | undefined =>
    guarded(`${source}.${field}`, () => rule[field] && compileGlobs(rule[field], { kind: 'name' }));
  return {
    allows,
    decision: Object.freeze<Decision>({
      effect: rule.effect,
      ruleId: id,
      ruleSource: source,
      reason: `${allows ? 'allowed' : 'denied'} by rule "${id}"`,
    }),
    ...guarded(`${source}.operations`, () => operationsOf(rule)),
    roles: rule.roles && [...rule.roles],
    principals: names('principals'),
    capabilities: rule.capabilities && [...rule.capabilities],
    servers: names('servers'),
    named: rule.tools !== undefined || rule.resources !== undefined || rule.prompts !== undefined,
    tools: names('tools'),
    resources: guarded(`${source}.resources`, () =>
      rule.resources === undefined
        ? undefined
        : compileGlobs(rule.resources.map(normaliseUriPattern), { kind: 'path' }),
    ),
    prompts: names('prompts'),
    when: guarded(`${source}.when`, () =>
      rule.when === undefined ? undefined : conditionOf(rule.when, evaluator),
    ),
    rule,
  };
}

function checkShape(rule: PolicyRule, source: string): void {
  if (typeof rule !== 'object' || rule === null || Array.isArray(rule))
    throw invalid(source, 'a rule is an object');
  for (const field of Object.keys(rule)) {
    if (!FIELDS.has(field))
      throw invalid(`${source}.${field}`, `unknown field; a rule has ${[...FIELDS].join(', ')}`);
  }
  const { id, effect, when } = rule as { id?: unknown; effect?: unknown; when?: unknown };
  if (effect !== 'allow' && effect !== 'deny') throw invalid(`${source}.effect`, 'must be "allow" or "deny"');
  if (id !== undefined && (typeof id !== 'string' || id === ''))
    throw invalid(`${source}.id`, 'must be a text');
  if (typeof id === 'string' && /^(config|default):/.test(id))
    throw invalid(`${source}.id`, '"config:" and "default:" are ours');
  if (when !== undefined && typeof when !== 'string' && typeof when !== 'function') {
    throw invalid(`${source}.when`, 'must be a function or a text');
  }
  for (const field of LISTS) {
    const list: unknown = rule[field];
    if (list === undefined) continue;
    if (
      !Array.isArray(list) ||
      list.length === 0 ||
      list.some((entry) => typeof entry !== 'string' || entry === '')
    ) {
      throw invalid(
        `${source}.${field}`,
        'must be a list of at least one text; leave the field out to mean all',
      );
    }
  }
}

type Operations = Pick<CompiledRule, 'families' | 'admin' | 'vendor'>;

function operationsOf(rule: PolicyRule): Operations {
  if (rule.operations === undefined) {
    const families = rule.effect === 'allow' ? [...USE_OPERATIONS, 'vendor'] : [...KNOWN, 'admin', 'vendor'];
    return { families, admin: undefined, vendor: undefined };
  }
  const families = new Set<string>();
  const admin: string[] = [];
  const vendor: string[] = [];
  for (const pattern of rule.operations) {
    if (pattern === '*') {
      for (const family of KNOWN) families.add(family);
      admin.push('*');
      vendor.push('*');
    } else if (pattern === 'vendor' || pattern.startsWith('vendor:')) {
      vendor.push(pattern === 'vendor' ? '*' : pattern.slice('vendor:'.length));
    } else if (pattern.startsWith('admin.')) {
      admin.push(pattern);
    } else {
      const matches = compileGlobs([pattern], { kind: 'name' });
      const found = KNOWN.filter(matches);
      if (found.length === 0)
        throw new SyntaxError(`"${pattern}" is no operation; known: ${KNOWN.join(', ')}, vendor, admin.*`);
      for (const family of found) families.add(family);
    }
  }
  if (admin.length > 0) families.add('admin');
  if (vendor.length > 0) families.add('vendor');
  return { families: [...families], admin: some(admin), vendor: some(vendor) };
}

function some(patterns: readonly string[]): Matcher | undefined {
  return patterns.length === 0 || patterns.includes('*')
    ? undefined
    : compileGlobs(patterns, { kind: 'name' });
}

function guarded<T>(field: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw invalid(field, errorText(error), error);
  }
}

function invalid(field: string, problem: string, cause?: unknown): TroupeError {
  return new TroupeError('config_invalid', `${field}: ${problem}`, { data: { field }, cause });
}

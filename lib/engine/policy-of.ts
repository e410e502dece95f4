import type { Config } from '../config/config.ts';
import { TroupeError } from '../core/errors.ts';
import {
  askPolicy,
  type Decision,
  type Explanation,
  type HostOperation,
  type PolicyEngine,
  type PolicyQuery,
} from '../security/policy-engine.ts';
import { createPolicy, type PolicyOptions, type RulePolicy } from '../security/policy.ts';
import type { PolicyRule } from '../security/policy-rule.ts';

export function isBuiltIn({ policy: given }: Config): boolean {
  return given === undefined || !('decide' in given) || typeof given.decide !== 'function';
}

/** Rules, `{ rules, roles, conditions }`, or an engine of the host's own; `undefined` where nothing is restricted. */
export function policyOf(
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
  const make = (): RulePolicy =>
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
  let made: RulePolicy | undefined = make();
  return {
    decide: (query) => (made ??= make()).decide(query),
    explain: (query) => explained((made ??= make()), query),
    rulesOut: (server, principal) => (made ??= make()).rulesOut(server, principal),
    renew: () => (made = undefined),
  };
}

export async function explained(engine: PolicyEngine, query: PolicyQuery): Promise<Explanation> {
  if (engine.explain !== undefined) return engine.explain(query);
  const decision: Decision = await askPolicy(engine, query);
  return { ...decision, missing: [], nearest: [] };
}

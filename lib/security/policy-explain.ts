import type { NearRule } from './policy-engine.ts';
import { familyFits, hasRole, holds, serverFits, subjectFits } from './policy-match.ts';
import type { Asked } from './policy-match.ts';
import type { CompiledRule } from './policy-rule.ts';

const NEAREST = 3;

interface Gap extends NearRule {
  readonly missing: readonly string[];
}

/** Which allowing rules came nearest, and which roles or capabilities alone would have been enough. */
export function nearestRules(
  rules: readonly CompiledRule[],
  asked: Asked,
  family: string,
): { missing: readonly string[]; nearest: readonly NearRule[] } {
  const gaps = rules
    .filter((rule) => rule.allows)
    .map((rule) => gapOf(rule, asked, family))
    .filter((gap) => gap.unmet.length > 0)
    .sort((a, b) => a.unmet.length - b.unmet.length);
  const missing = new Set(
    gaps.flatMap((gap) => (gap.missing.length === gap.unmet.length ? gap.missing : [])),
  );
  return {
    missing: [...missing],
    nearest: gaps.slice(0, NEAREST).map(({ ruleId, ruleSource, unmet }) => ({ ruleId, ruleSource, unmet })),
  };
}

function gapOf(compiled: CompiledRule, asked: Asked, family: string): Gap {
  const { rule, decision } = compiled;
  const { query, who } = asked;
  const unmet: string[] = [];
  const missing: string[] = [];
  if (!compiled.families.includes(family) || !familyFits(compiled, query)) {
    unmet.push(`it is about ${rule.operations?.join(', ') ?? 'using servers'}, not ${query.operation}`);
  } else if (!subjectFits(compiled, asked)) {
    unmet.push(
      `it is about ${[...(rule.tools ?? []), ...(rule.resources ?? []), ...(rule.prompts ?? [])].join(', ')}`,
    );
  }
  if (!serverFits(compiled, asked)) unmet.push(`it is about server ${rule.servers?.join(', ')}`);
  if (compiled.principals !== undefined && !compiled.principals(who.id)) {
    unmet.push(`it is for ${rule.principals?.join(', ')}, not ${who.id}`);
  }
  if (compiled.roles !== undefined && !hasRole(compiled.roles, who)) {
    unmet.push(`it needs one of the roles ${compiled.roles.join(', ')}`);
    missing.push(compiled.roles.map((role) => `role:${role}`).join(' | '));
  }
  for (const capability of compiled.capabilities ?? []) {
    if (holds(asked, capability)) continue;
    unmet.push(`it needs the capability ${capability}`);
    missing.push(`capability:${capability}`);
  }
  if (unmet.length === 0 && compiled.when !== undefined) unmet.push(...conditionGap(compiled, asked));
  return { ruleId: decision.ruleId, ruleSource: decision.ruleSource, unmet, missing };
}

function conditionGap(compiled: CompiledRule, { query }: Asked): readonly string[] {
  try {
    return compiled.when?.(query) === true ? [] : ['its condition does not hold'];
  } catch {
    return ['its condition failed'];
  }
}

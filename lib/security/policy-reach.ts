import { USE_OPERATIONS } from './policy-engine.ts';
import type { Decision, Operation, PolicyQuery } from './policy-engine.ts';
import { serverFits, whoFits } from './policy-match.ts';
import type { Asked } from './policy-match.ts';
import type { CompiledRule } from './policy-rule.ts';

/** Everything that a caller can do with a server. */
const USES: readonly Operation[] = [...USE_OPERATIONS, 'vendor'];

/**
 * Is it certain, whatever the tool, resource, prompt, method or arguments, that the principal may use nothing of the server? An
 * allowing rule that is for this principal and server counts as a yes, whatever it names and whatever its condition; of
 * those that deny, only one without names and condition closes an operation.
 */
export function ruledOut(
  rules: (operation: Operation) => {
    readonly deny: readonly CompiledRule[];
    readonly allow: readonly CompiledRule[];
  },
  granted: (query: PolicyQuery) => Decision | undefined,
  asked: Asked,
): boolean {
  const concerns = (rule: CompiledRule): boolean => serverFits(rule, asked) && whoFits(rule, asked);
  return USES.every((operation) => {
    const { deny, allow } = rules(operation);
    if (deny.some((rule) => isWhole(rule, operation) && concerns(rule))) return true;
    return granted({ ...asked.query, operation }) === undefined && !allow.some(concerns);
  });
}

/** It holds for all that the operation can be about. */
function isWhole(rule: CompiledRule, operation: Operation): boolean {
  return !rule.named && rule.when === undefined && (operation !== 'vendor' || rule.vendor === undefined);
}

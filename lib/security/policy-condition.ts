import { isThenable } from './policy-engine.ts';
import type { PolicyQuery } from './policy-engine.ts';

/** Compiles conditions written as text. The built-in one is CEL (`cel.ts`). */
export interface ConditionEvaluator {
  /** Throws for what it cannot parse. The result is called for each decision that reaches the rule. */
  compile(source: string): (variables: ConditionVariables) => unknown;
}

/** What a textual condition sees: the variables of agentgateway rules, and ours beside them. */
export interface ConditionVariables {
  readonly mcp: {
    readonly tool?: { readonly name: string; readonly target: string | undefined };
    readonly prompt?: { readonly name: string; readonly target: string | undefined };
    readonly resource?: { readonly name: string; readonly target: string | undefined };
  };
  /** Verified claims of the caller, at least `sub`. */
  readonly jwt: Readonly<Record<string, unknown>>;
  readonly principal: Readonly<Record<string, unknown>>;
  readonly operation: string;
  readonly method: string | undefined;
  readonly server: string | undefined;
  readonly arguments: Readonly<Record<string, unknown>>;
}

/** True, false, or an error thrown; nothing else. */
export type Condition = (query: PolicyQuery) => boolean;

export function conditionOf(
  when: string | ((query: PolicyQuery) => boolean),
  evaluator: ConditionEvaluator,
): Condition {
  if (typeof when === 'function') return (query) => strictly(when(query));
  const evaluate = evaluator.compile(when);
  return (query) => strictly(evaluate(variablesOf(query)));
}

function strictly(value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  if (isThenable(value)) {
    value.then(undefined, () => {});
    throw new TypeError('the condition answered a promise; conditions are synchronous');
  }
  throw new TypeError(`the condition answered ${value === null ? 'null' : typeof value}, not true or false`);
}

function variablesOf(query: PolicyQuery): ConditionVariables {
  const { principal, server, tool, prompt, resource } = query;
  const who = principal ?? { id: '' };
  return {
    mcp: {
      ...(tool === undefined ? {} : { tool: { name: tool, target: server } }),
      ...(prompt === undefined ? {} : { prompt: { name: prompt, target: server } }),
      ...(resource === undefined ? {} : { resource: { name: resource, target: server } }),
    },
    jwt: query.claims ?? { sub: who.id },
    principal: {
      id: who.id,
      roles: who.roles ?? [],
      capabilities: who.capabilities ?? [],
      tenant: who.tenant ?? who.id,
    },
    operation: query.operation,
    method: query.method,
    server,
    // Only where it is used: whether a condition looks at the arguments decides about lists.
    get arguments() {
      return query.arguments ?? {};
    },
  };
}

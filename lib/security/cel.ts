import { Environment } from '@marcbachmann/cel-js';
import { RE2JS } from 're2js';
import { errorText } from '../core/errors.ts';
import type { ConditionEvaluator, ConditionVariables } from './policy-condition.ts';

const VARIABLES = [
  'mcp',
  'jwt',
  'principal',
  'operation',
  'method',
  'server',
  'arguments',
] as const satisfies ReadonlyArray<keyof ConditionVariables>;

/** Longest condition, in characters, and longest pattern of `matches`. */
const MAX_SOURCE = 4_096;
const MAX_PATTERN = 1_000;
const PATTERNS_REMEMBERED = 64;

/**
 * Conditions in CEL, the language of agentgateway rules. Syntax, names and types are checked once, when the policy is
 * made, and a mistake is told with line and column; what is missing at the time of the question (a key of the arguments) throws
 * and so denies. `matches` is RE2 in linear time, as CEL says: the text may be a caller's, and no pattern of an operator
 * shall stop the event loop over it (`^(a+)+$` on 31 characters took 68 s with the engine of JavaScript).
 */
export function createCel(): ConditionEvaluator {
  // Made with the first condition: what nobody uses costs nothing.
  let environment: Environment | undefined;
  return {
    compile(source) {
      if (source.length > MAX_SOURCE)
        throw new SyntaxError(
          `the condition has ${source.length} characters, at most ${MAX_SOURCE} are read`,
        );
      environment ??= environmentOf();
      let evaluate: (variables: Record<string, unknown>) => unknown;
      try {
        const parsed = environment.parse(source);
        const { valid, error, type } = parsed.check();
        if (!valid) throw error ?? new SyntaxError('the condition does not fit its types');
        if (type !== 'bool' && type !== 'dyn')
          throw new SyntaxError(`the condition is ${type}, not true or false`);
        evaluate = parsed as typeof evaluate;
      } catch (error) {
        throw told(error, source);
      }
      return (variables) => {
        try {
          return evaluate(present(variables));
        } catch (error) {
          throw told(error, source);
        }
      };
    },
  };
}

function environmentOf(): Environment {
  const environment = new Environment({ unlistedVariablesAreDyn: false, enableOptionalTypes: true });
  for (const name of VARIABLES) environment.registerVariable(name, 'dyn');
  // A macro is found by name and number of arguments, before any overload; the type of its receiver only keeps the
  // library from seeing a second `string.matches`.
  environment.registerFunction('list.matches(ast): bool', linearMatches());
  return environment;
}

interface Checker {
  check(node: unknown, context: unknown): unknown;
  getType(name: string): unknown;
}

interface Runner {
  run(node: unknown, context: unknown): unknown;
}

function linearMatches(): (call: {
  readonly args: readonly unknown[];
  readonly receiver: unknown;
}) => object {
  const compiled = patterns();
  return ({ args, receiver }) => ({
    typeCheck(checker: Checker, _macro: unknown, context: unknown) {
      checker.check(receiver, context);
      checker.check(args[0], context);
      return checker.getType('bool');
    },
    evaluate(runner: Runner, _macro: unknown, context: unknown) {
      const text = runner.run(receiver, context);
      const pattern = runner.run(args[0], context);
      if (typeof text !== 'string' || typeof pattern !== 'string')
        throw new TypeError('matches compares a text with a pattern');
      return compiled(pattern).test(text);
    },
  });
}

/** The patterns of a policy are few; one that comes with the arguments must not fill the memory. */
function patterns(): (pattern: string) => RE2JS {
  let memory = new Map<string, RE2JS>();
  return (pattern) => {
    const known = memory.get(pattern);
    if (known !== undefined) return known;
    if (pattern.length > MAX_PATTERN)
      throw new RangeError(`a pattern has ${pattern.length} characters, at most ${MAX_PATTERN} are read`);
    const made = RE2JS.compile(pattern);
    if (memory.size >= PATTERNS_REMEMBERED) memory = new Map();
    memory.set(pattern, made);
    return made;
  };
}

/** CEL knows null, but no undefined. */
function present(variables: ConditionVariables): Record<string, unknown> {
  const { mcp, jwt, principal, operation, method, server } = variables;
  return {
    mcp,
    jwt,
    principal,
    operation,
    method: method ?? null,
    server: server ?? null,
    get arguments() {
      return variables.arguments;
    },
  };
}

/** The library draws the line with a mark below it; in a log one line has to do. */
function told(error: unknown, source: string): SyntaxError {
  const { summary, range } = error as {
    readonly summary?: unknown;
    readonly range?: { readonly start: number };
  };
  const what = typeof summary === 'string' ? summary : errorText(error);
  return new SyntaxError(range === undefined ? what : `${what} (${placeOf(source, range.start)})`, {
    cause: error,
  });
}

function placeOf(source: string, at: number): string {
  const before = source.slice(0, at).split('\n');
  return `line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}`;
}

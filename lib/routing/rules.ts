import { TroupeError } from '../core/errors.ts';
import { isJson } from '../core/json-rpc.ts';

/** Sends resources to servers by what they are, not by who lists them: `{ match: 'file://**', to: 'files' }`. */
export interface RoutingRule {
  /** Globs of the URI, one of which must match. */
  readonly match?: string | readonly string[] | undefined;
  /** Globs of the MIME type (`image/*`), one of which must match; an unknown type matches none. */
  readonly type?: string | readonly string[] | undefined;
  /** The server, or several, asked in this order. */
  readonly to: string | readonly string[];
}

/** Compiles a glob; throws when it is none. `path`: `*` stops at `/` and `**` does not; `name`: `*` is any run. */
export type GlobCompiler = (pattern: string, kind: 'path' | 'name') => (text: string) => boolean;

export interface RoutingRules {
  /** Servers of the first rule that fits; undefined: no rule does, and the catalog decides. */
  serversFor(uri: string, mimeType?: string): readonly string[] | undefined;
}

interface CompiledRule {
  readonly uri: ((text: string) => boolean) | undefined;
  readonly type: ((text: string) => boolean) | undefined;
  readonly to: readonly string[];
}

/** Throws `config_invalid` naming the rule for a pattern that is none, a rule without condition or target, a server that is not there. */
export function createRoutingRules(
  rules: readonly RoutingRule[],
  compile: GlobCompiler,
  servers?: ReadonlySet<string>,
): RoutingRules {
  const compiled = rules.map((rule, at) => compileRule(rule, at, compile, servers));
  return {
    serversFor(uri, mimeType) {
      for (const { uri: matchesUri, type, to } of compiled) {
        if (matchesUri?.(uri) === false) continue;
        if (type !== undefined && (mimeType === undefined || !type(essence(mimeType)))) continue;
        return to;
      }
      return undefined;
    },
  };
}

/** `text/html; charset=utf-8` is of the type `text/html`; types know no case. */
function essence(mimeType: string): string {
  const end = mimeType.indexOf(';');
  return (end < 0 ? mimeType : mimeType.slice(0, end)).trim().toLowerCase();
}

function compileRule(
  rule: RoutingRule,
  at: number,
  compile: GlobCompiler,
  servers: ReadonlySet<string> | undefined,
): CompiledRule {
  if (!isJson(rule)) throw invalid(at, '', 'expected { match, to }');
  const anyOf = (key: 'match' | 'type', kind: 'path' | 'name'): ((text: string) => boolean) | undefined => {
    const patterns = listOf(rule[key], at, key);
    if (patterns.length === 0) return undefined;
    const matchers = patterns.map((pattern) => {
      try {
        return compile(kind === 'name' ? pattern.toLowerCase() : pattern, kind);
      } catch (error) {
        throw invalid(at, key, `"${pattern}" is no pattern`, error);
      }
    });
    return (text) => matchers.some((matches) => matches(text));
  };
  const uri = anyOf('match', 'path');
  const type = anyOf('type', 'name');
  if (uri === undefined && type === undefined) throw invalid(at, 'match', 'a rule needs match or type');
  const to = listOf(rule.to, at, 'to');
  if (to.length === 0) throw invalid(at, 'to', 'a rule needs the name of a server');
  for (const name of to) {
    if (servers?.has(name) === false) throw invalid(at, 'to', `there is no server "${name}"`);
  }
  return { uri, type, to };
}

function listOf(value: unknown, at: number, key: string): readonly string[] {
  if (value === undefined) return [];
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  for (const entry of list) {
    if (typeof entry !== 'string' || entry === '')
      throw invalid(at, key, 'expected a string or a list of strings');
  }
  return list as readonly string[];
}

function invalid(at: number, key: string, remedy: string, cause?: unknown): TroupeError {
  const field = `routes[${at}]${key === '' ? '' : `.${key}`}`;
  return new TroupeError('config_invalid', `${field}: ${remedy}`, { data: { field }, cause });
}

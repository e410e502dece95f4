import { basename, delimiter, sep } from 'node:path';

/** What `${…}` in a configuration can stand for. */
export interface Scope {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly inputs: ReadonlyMap<string, string>;
  readonly userHome: string;
  readonly workspaceFolder: string;
  /**
   * `${name}` without a prefix: `all` in files; `upper-case` in objects of a program, where `${x}` may as well be a
   * template of a script in `args`.
   */
  readonly bare: 'all' | 'upper-case';
}

/** Why a text could not be expanded; the caller knows the field and adds it. */
export class Unexpandable extends Error {
  override readonly name = 'Unexpandable';
  readonly remedy: string;

  constructor(problem: string, remedy: string) {
    super(problem);
    this.remedy = remedy;
  }
}

const VARIABLE = /^([A-Za-z_][A-Za-z0-9_]*)(?::-([\s\S]*))?$/;
const ENVIRONMENT = /^env:([^=]+?)(?::-([\s\S]*))?$/;
const UPPER_CASE = /^[A-Z_][A-Z0-9_]*$/;
/** `${command:pick}`, `${config:editor.tab}`: variables of a host that we cannot know. */
const FOREIGN = /^(command|config|workspaceFolder|localEnv|containerEnv|extensionInstallFolder):/;
const MAX_NESTING = 8;

/** Expands every variable of a text in one pass; what came from a variable is not expanded again. */
export function expand(text: string, scope: Scope): string {
  return expandAt(text, scope, 0);
}

/** The ids of `${input:id}` in a text, defaults included. */
export function inputIds(text: string): string[] {
  return [...text.matchAll(/\$\{input:([^{}]*)\}/g)].flatMap((match) => match[1] ?? []);
}

function expandAt(text: string, scope: Scope, nesting: number): string {
  let start = text.indexOf('${');
  if (start === -1) return text;
  if (nesting > MAX_NESTING)
    throw new Unexpandable('nests variables too deeply', `nest at most ${MAX_NESTING}`);
  let result = '';
  let from = 0;
  while (start !== -1) {
    if (text[start - 1] === '$' && start > from) {
      // `$${X}` is the literal `${X}`.
      result += `${text.slice(from, start - 1)}\${`;
      from = start + 2;
    } else {
      const end = closing(text, start + 2);
      // Nothing closes it, so nothing that follows can be closed either.
      if (end === -1) break;
      result += text.slice(from, start) + valueOf(text.slice(start + 2, end), scope, nesting);
      from = end + 1;
    }
    start = text.indexOf('${', from);
  }
  return result + text.slice(from);
}

function closing(text: string, from: number): number {
  let depth = 1;
  for (let i = from; i < text.length; i++) {
    if (text[i] === '{' && text[i - 1] === '$') depth++;
    else if (text[i] === '}' && --depth === 0) return i;
  }
  return -1;
}

function valueOf(body: string, scope: Scope, nesting: number): string {
  switch (body) {
    case 'userHome':
      return scope.userHome;
    case 'workspaceFolder':
    case 'workspaceRoot':
      return scope.workspaceFolder;
    case 'workspaceFolderBasename':
      return basename(scope.workspaceFolder);
    case '/':
    case 'pathSeparator':
      return sep;
    case 'pathDelimiter':
      return delimiter;
    default:
  }
  if (body.startsWith('input:')) return inputValue(body.slice('input:'.length), scope);
  const match = ENVIRONMENT.exec(body) ?? bareVariable(body, scope);
  if (match !== null) return environmentValue(match[1] ?? '', match[2], scope, nesting);
  if (FOREIGN.test(body)) {
    throw new Unexpandable(
      `uses \${${body.slice(0, 60)}}, which only its own host can answer`,
      'write the value itself',
    );
  }
  return `\${${body}}`;
}

function bareVariable(body: string, scope: Scope): RegExpExecArray | null {
  const match = VARIABLE.exec(body);
  if (match === null || scope.bare === 'all') return match;
  // `:-` is no JavaScript, so a default makes it ours whatever the case.
  return match[2] !== undefined || UPPER_CASE.test(match[1] ?? '') ? match : null;
}

function environmentValue(name: string, fallback: string | undefined, scope: Scope, nesting: number): string {
  const value = scope.env[name];
  if (fallback !== undefined)
    return value === undefined || value === '' ? expandAt(fallback, scope, nesting + 1) : value;
  if (value !== undefined) return value;
  throw new Unexpandable(
    `uses the environment variable ${name}, which is not set`,
    `set it, give a default with \${${name}:-…}, or write $\${ for a literal \${`,
  );
}

function inputValue(id: string, scope: Scope): string {
  const value = scope.inputs.get(id);
  if (value !== undefined) return value;
  throw new Unexpandable(
    `asks for the input "${id}", which has no answer`,
    `answer it: loadConfig(…, { inputs: { ${JSON.stringify(id)}: … } })`,
  );
}

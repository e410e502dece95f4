import { findNodeAtLocation, parseTree, printParseErrorCode, type Node, type ParseError } from 'jsonc-parser';
import { TroupeError } from '../core/errors.ts';
import type { Origin, Path } from './fields.ts';

export interface Document {
  readonly value: unknown;
  readonly origin: Origin;
  /** Keys of the object at a path in the order of the text; JavaScript would put `1` before `b`. */
  readonly keysAt: (path: Path) => readonly string[];
}

/** Deeper than any configuration, far from the end of the stack. */
const MAX_DEPTH = 128;

/**
 * JSON with comments and trailing commas, as hosts write it. Syntax errors and duplicate keys are errors that name
 * file, line and column: of two servers with one name the second would win silently.
 */
export function parseDocument(source: string, file: string): Document {
  const text = source.startsWith('\uFEFF') ? source.slice(1) : source;
  const lines = lineStarts(text);
  const position = (offset: number): string => {
    const line = lineAt(lines, offset);
    return `${file}, line ${line}, column ${offset - (lines[line - 1] ?? 0) + 1}`;
  };
  const fail = (problem: string, offset: number): TroupeError =>
    new TroupeError('config_invalid', `${problem} (${position(offset)})`, {
      data: { file, line: lineAt(lines, offset) },
    });

  if (text.trim() === '')
    throw new TroupeError('config_invalid', `the file is empty; write { "mcpServers": {} } (${file})`, {
      data: { file },
    });
  checkDepth(text, fail);
  const errors: ParseError[] = [];
  const root = parseTree(text, errors, { allowTrailingComma: true, disallowComments: false });
  const [error] = errors;
  if (error !== undefined)
    throw fail(`is not JSON: ${problemOf(printParseErrorCode(error.error))}`, error.offset);
  if (root === undefined) throw fail('is not JSON: a value is expected', 0);
  const value = valueOf(root, fail);
  return {
    value,
    origin: { file, lineOf: (path) => lineAt(lines, deepest(root, path).offset) },
    keysAt: (path) => {
      const node = findNodeAtLocation(root, [...path]);
      return node?.type === 'object' ? (node.children ?? []).map((property) => keyOf(property)) : [];
    },
  };
}

/** The parser calls itself per level, so the levels are counted before it sees the text. Strings and comments are skipped. */
function checkDepth(text: string, fail: (problem: string, offset: number) => TroupeError): void {
  const skipped = /"(?:[^"\\\n]|\\.)*"?|\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|[{[]|[}\]]/g;
  let depth = 0;
  for (const match of text.matchAll(skipped)) {
    const [token] = match;
    if (token === '{' || token === '[') {
      if (++depth > MAX_DEPTH)
        throw fail(`is nested deeper than ${MAX_DEPTH} levels; flatten it`, match.index);
    } else if (token === '}' || token === ']') depth--;
  }
}

/** `CloseBraceExpected` → `close brace expected`. */
function problemOf(code: string): string {
  return code.replace(/(?!^)[A-Z]/g, (c) => ` ${c}`).toLowerCase();
}

function keyOf(property: Node): string {
  return String(property.children?.[0]?.value);
}

/** Objects without a prototype: a server may be called `__proto__`. */
function valueOf(node: Node, fail: (problem: string, offset: number) => TroupeError): unknown {
  if (node.type === 'array') return (node.children ?? []).map((child) => valueOf(child, fail));
  if (node.type !== 'object') return node.value as unknown;
  const object = Object.create(null) as Record<string, unknown>;
  for (const property of node.children ?? []) {
    const key = keyOf(property);
    if (Object.hasOwn(object, key))
      throw fail(`the key ${JSON.stringify(key)} is given twice; keep one`, property.offset);
    const child = property.children?.[1];
    object[key] = child === undefined ? undefined : valueOf(child, fail);
  }
  return object;
}

/** The node at a path, or the nearest parent that is there. */
function deepest(root: Node, path: Path): Node {
  let node = root;
  for (const key of path) {
    const next = findNodeAtLocation(node, [key]);
    if (next === undefined) break;
    node = next;
  }
  return node;
}

function lineStarts(text: string): readonly number[] {
  const starts = [0];
  for (let i = text.indexOf('\n'); i !== -1; i = text.indexOf('\n', i + 1)) starts.push(i + 1);
  return starts;
}

/** The line of an offset, counted from 1. */
function lineAt(starts: readonly number[], offset: number): number {
  let [low, high] = [0, starts.length];
  while (low + 1 < high) {
    const middle = (low + high) >> 1;
    if ((starts[middle] ?? 0) <= offset) low = middle;
    else high = middle;
  }
  return low + 1;
}

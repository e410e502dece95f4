import { MAX_URI_LENGTH } from '../core/limits.ts';
import { schemeOf } from './uri.ts';

/** Longest template, in characters, and most expressions in it; a resource template beyond is left out of its list. */
export const MAX_TEMPLATE = 2048;
export const MAX_EXPRESSIONS = 32;
/** Most variables in one expression. */
const MAX_VARIABLES = 32;
/** Longest name of a query parameter that an exploded `{?any*}` accepts. */
const MAX_PARAMETER = 128;

/** A URI template (RFC 6570, levels 1 to 4) or a pattern with `*` and `**`, ready to be tried on URIs. */
export interface Template {
  readonly text: string;
  /** In lower case; '' where the scheme itself is variable. */
  readonly scheme: string;
  /** Steps are tried one after the other on all positions reached so far: no regular expression, no backtracking. */
  readonly steps: readonly Step[];
}

export type ParsedTemplate =
  | { readonly ok: true; readonly template: Template }
  | { readonly ok: false; readonly reason: string };

type Step =
  | { readonly is: 'literal'; readonly text: string; readonly failure: Int16Array }
  /** Characters up to one that stops. */
  | { readonly is: 'run'; readonly stops: Uint8Array; readonly least: 0 | 1 }
  /** May be absent; else `opens`, then characters up to one that stops. */
  | { readonly is: 'led'; readonly opens: number; readonly stops: Uint8Array }
  /** May be absent; else `opens` name = value, further ones after `joins`. No names: any name. */
  | {
      readonly is: 'pairs';
      readonly opens: number;
      readonly joins: number;
      readonly stops: Uint8Array;
      readonly names: ReadonlySet<string> | undefined;
      readonly longest: number;
    };

const stopsAt = (characters: string): Uint8Array => {
  const table = new Uint8Array(128);
  for (let i = 0; i < characters.length; i += 1) table[characters.charCodeAt(i)] = 1;
  return table;
};
const ANYTHING = stopsAt('');
const SEGMENT = stopsAt('/?#');
const PATH = stopsAt('?#');
const QUERY_VALUE = stopsAt('&#');
const PATH_VALUE = stopsAt(';/?#');
const NO_SLASH = stopsAt('/');

const VARIABLE = /^([^\s{}(),:*=?&#/+;!@|]{1,128})(?::[1-9][0-9]{0,3}|\*)?$/;
const RESERVED_OPERATORS = '=,!@|';
const code = (character: string): number => character.charCodeAt(0);

/** Linear in the length of the template. Names of variables may hold more than the RFC allows (`{file-id}` is common). */
export function parseTemplate(text: string): ParsedTemplate {
  const refused = (reason: string): ParsedTemplate => ({ ok: false, reason });
  if (text.length > MAX_TEMPLATE) return refused(`it is longer than ${MAX_TEMPLATE} characters`);
  const steps: Step[] = [];
  let expressions = 0;
  let at = 0;
  while (at < text.length) {
    const open = text.indexOf('{', at);
    const literal = text.slice(at, open === -1 ? undefined : open);
    const stray = literal.indexOf('}');
    if (stray !== -1) return refused(`"}" without "{" at ${at + stray}`);
    if (literal !== '') steps.push(literalStep(literal));
    if (open === -1) break;
    const close = text.indexOf('}', open);
    if (close === -1) return refused(`"{" at ${open} is not closed`);
    if ((expressions += 1) > MAX_EXPRESSIONS)
      return refused(`it has more than ${MAX_EXPRESSIONS} expressions`);
    const reason = addExpression(steps, text.slice(open + 1, close));
    if (reason !== undefined) return refused(`${reason} at ${open}`);
    at = close + 1;
  }
  const open = text.indexOf('{');
  return { ok: true, template: { text, scheme: schemeOf(open === -1 ? text : text.slice(0, open)), steps } };
}

/** `*`: anything but `/`; `**`: anything. The rest stands for itself. */
export function parsePattern(text: string): ParsedTemplate {
  if (text === '') return { ok: false, reason: 'it is empty' };
  if (text.length > MAX_TEMPLATE)
    return { ok: false, reason: `it is longer than ${MAX_TEMPLATE} characters` };
  const steps: Step[] = [];
  for (const [part] of text.matchAll(/\*+|[^*]+/g)) {
    if (!part.startsWith('*')) steps.push(literalStep(part));
    else steps.push({ is: 'run', stops: part.length === 1 ? NO_SLASH : ANYTHING, least: 0 });
  }
  if (steps.length > 2 * MAX_EXPRESSIONS)
    return { ok: false, reason: `it has more than ${MAX_EXPRESSIONS} stars` };
  const star = text.indexOf('*');
  return { ok: true, template: { text, scheme: schemeOf(star === -1 ? text : text.slice(0, star)), steps } };
}

function addExpression(steps: Step[], expression: string): string | undefined {
  const first = expression.charAt(0);
  if (first === '') return 'an empty expression';
  if (RESERVED_OPERATORS.includes(first)) return `the reserved operator "${first}"`;
  const operator = '+#./;?&'.includes(first) ? first : '';
  const variables = expression.slice(operator.length).split(',');
  if (variables.length > MAX_VARIABLES) return `more than ${MAX_VARIABLES} variables`;
  const names = new Set<string>();
  let exploded = false;
  for (const variable of variables) {
    const name = VARIABLE.exec(variable)?.[1];
    if (name === undefined) return `an invalid variable ${JSON.stringify(variable.slice(0, 64))}`;
    names.add(name);
    exploded ||= variable.endsWith('*');
  }
  switch (operator) {
    case '':
      steps.push({ is: 'run', stops: SEGMENT, least: 1 });
      break;
    case '+':
      steps.push({ is: 'run', stops: ANYTHING, least: 1 });
      break;
    case '#':
      steps.push({ is: 'led', opens: code('#'), stops: ANYTHING });
      break;
    case '.':
      // Labels contain dots of their own as often as not, so all of them together are one run.
      steps.push({ is: 'led', opens: code('.'), stops: SEGMENT });
      break;
    case '/':
      if (exploded) steps.push({ is: 'led', opens: code('/'), stops: PATH });
      else for (const _ of names) steps.push({ is: 'led', opens: code('/'), stops: SEGMENT });
      break;
    default:
      steps.push({
        is: 'pairs',
        opens: code(operator),
        joins: code(operator === ';' ? ';' : '&'),
        stops: operator === ';' ? PATH_VALUE : QUERY_VALUE,
        names: exploded ? undefined : names,
        longest: exploded ? MAX_PARAMETER : Math.max(...[...names].map((name) => name.length)),
      });
  }
  return undefined;
}

/** With the failure table of Knuth, Morris and Pratt: finding all places of a literal stays linear. */
function literalStep(text: string): Step {
  const failure = new Int16Array(text.length);
  for (let i = 1, k = 0; i < text.length; i += 1) {
    while (k > 0 && text.charCodeAt(i) !== text.charCodeAt(k)) k = failure[k - 1] as number;
    if (text.charCodeAt(i) === text.charCodeAt(k)) k += 1;
    failure[i] = k;
  }
  return { is: 'literal', text, failure };
}

/**
 * Whether the URI can be an expansion of the template. What a variable stands for may be anything but the separators
 * of its operator, escaped or not, since servers rarely escape; prefix lengths (`{x:3}`) are not counted; expressions
 * with `# . / ; ? &` may be absent, as they are when nothing is defined. Time: length of the URI × number of steps.
 */
export function matchesTemplate({ steps }: Template, uri: string): boolean {
  if (uri.length > MAX_URI_LENGTH) return false;
  // Nearly every try ends here.
  const first = steps[0];
  const last = steps[steps.length - 1];
  if (first === undefined) return uri === '';
  if (first.is === 'literal' && !uri.startsWith(first.text)) return false;
  if (last?.is === 'literal' && !uri.endsWith(last.text)) return false;

  let reached = new Uint8Array(uri.length + 1);
  let next = new Uint8Array(uri.length + 1);
  reached[0] = 1;
  for (const step of steps) {
    next.fill(0);
    if (!advance(step, uri, reached, next)) return false;
    [reached, next] = [next, reached];
  }
  return reached[uri.length] === 1;
}

/** Marks in `next` every position that `step` leads to from one in `reached`; false where there is none. */
function advance(step: Step, uri: string, reached: Uint8Array, next: Uint8Array): boolean {
  if (step.is === 'literal') return advanceLiteral(step.text, step.failure, uri, reached, next);
  if (step.is === 'run') return advanceRun(step.stops, step.least, uri, reached, next);
  if (step.is === 'led') return advanceLed(step.opens, step.stops, uri, reached, next);
  return advancePairs(step, uri, reached, next);
}

function advanceLiteral(
  text: string,
  failure: Int16Array,
  uri: string,
  reached: Uint8Array,
  next: Uint8Array,
): boolean {
  let some = false;
  for (let i = 0, k = 0; i < uri.length; i += 1) {
    const unit = uri.charCodeAt(i);
    while (k > 0 && unit !== text.charCodeAt(k)) k = failure[k - 1] as number;
    if (unit === text.charCodeAt(k)) k += 1;
    if (k < text.length) continue;
    if (reached[i + 1 - k] === 1) {
      next[i + 1] = 1;
      some = true;
    }
    k = failure[k - 1] as number;
  }
  return some;
}

const stops = (table: Uint8Array, unit: number): boolean => unit < 128 && table[unit] === 1;

function advanceRun(
  table: Uint8Array,
  least: 0 | 1,
  uri: string,
  reached: Uint8Array,
  next: Uint8Array,
): boolean {
  let some = false;
  let inRun = false;
  for (let q = 0; q <= uri.length; q += 1) {
    const here = reached[q] === 1;
    if (inRun || (here && least === 0)) {
      next[q] = 1;
      some = true;
    }
    inRun = (inRun || here) && q < uri.length && !stops(table, uri.charCodeAt(q));
  }
  return some;
}

function advanceLed(
  opens: number,
  table: Uint8Array,
  uri: string,
  reached: Uint8Array,
  next: Uint8Array,
): boolean {
  let some = false;
  let inRun = false;
  for (let q = 0; q <= uri.length; q += 1) {
    if (q > 0 && reached[q - 1] === 1 && uri.charCodeAt(q - 1) === opens) inRun = true;
    if (inRun || reached[q] === 1) {
      next[q] = 1;
      some = true;
    }
    inRun &&= q < uri.length && !stops(table, uri.charCodeAt(q));
  }
  return some;
}

function advancePairs(
  step: Extract<Step, { is: 'pairs' }>,
  uri: string,
  reached: Uint8Array,
  next: Uint8Array,
): boolean {
  const valueAt = new Uint8Array(uri.length + 2);
  let some = false;
  let inValue = false;
  for (let q = 0; q <= uri.length; q += 1) {
    if (valueAt[q] === 1) inValue = true;
    if (inValue || reached[q] === 1) {
      next[q] = 1;
      some = true;
    }
    if (q === uri.length) break;
    const unit = uri.charCodeAt(q);
    if ((reached[q] === 1 && unit === step.opens) || (inValue && unit === step.joins)) {
      const end = nameEnd(uri, q + 1, step.longest, step.stops);
      if (end > q + 1 && (step.names === undefined || step.names.has(uri.slice(q + 1, end)))) {
        valueAt[uri.charCodeAt(end) === EQUALS ? end + 1 : end] = 1;
      }
    }
    if (stops(step.stops, unit)) inValue = false;
  }
  return some;
}

const EQUALS = code('=');

function nameEnd(uri: string, from: number, longest: number, table: Uint8Array): number {
  const limit = Math.min(uri.length, from + longest + 1);
  let end = from;
  while (end < limit && uri.charCodeAt(end) !== EQUALS && !stops(table, uri.charCodeAt(end))) end += 1;
  return end;
}

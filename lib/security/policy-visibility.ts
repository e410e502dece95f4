import { isJson } from '../core/json-rpc.ts';
import type { Json } from '../core/json-rpc.ts';
import type { Request } from '../core/request.ts';
import { askPolicy, isThenable } from './policy-engine.ts';
import type { Decision, PolicyEngine, PolicyQuery } from './policy-engine.ts';
import { operationOf, useOf } from './policy-request.ts';

/** Decisions that no rule made: nobody forbade it, nobody allowed it. */
export const UNDECIDED = 'default:deny';

/**
 * May the thing be seen? Only what may be used is, with whatever arguments; and not where a rule forbids the sight of it.
 * Whoever grants a call need not grant the sight. `listing` is a query with a list operation and the thing's name.
 */
export function isVisible(engine: PolicyEngine, listing: PolicyQuery): boolean | Promise<boolean> {
  const used = askPolicy(engine, { ...useOf(listing), arguments: undefined, anyArguments: true });
  if (isThenable(used)) return visibleLater(engine, listing, used);
  if (used.effect !== 'allow') return false;
  const listed = askPolicy(engine, listing);
  return isThenable(listed) ? listed.then(isSeen) : isSeen(listed);
}

async function visibleLater(
  engine: PolicyEngine,
  listing: PolicyQuery,
  asked: Promise<Decision>,
): Promise<boolean> {
  // Both at once: an engine that answers later is often far away.
  const [used, listed] = await Promise.all([asked, askPolicy(engine, listing)]);
  return used.effect === 'allow' && isSeen(listed);
}

function isSeen({ effect, ruleId }: Decision): boolean {
  return effect === 'allow' || ruleId === UNDECIDED;
}

const ITEMS: ReadonlyMap<
  string,
  readonly [key: string, subject: 'tool' | 'resource' | 'prompt', name: string]
> = new Map([
  ['tools/list', ['tools', 'tool', 'name']],
  ['resources/list', ['resources', 'resource', 'uri']],
  ['resources/templates/list', ['resourceTemplates', 'resource', 'uriTemplate']],
  ['prompts/list', ['prompts', 'prompt', 'name']],
] as const);

export function isListing(method: string): boolean {
  return ITEMS.has(method);
}

export function isEmptyList(method: string, response: Json): boolean {
  const items = response[ITEMS.get(method)?.[0] ?? ''];
  return !Array.isArray(items) || items.length === 0;
}

/**
 * A list without what the principal may not see. In the list of one server every item is that server's, whatever it
 * claims; in a list over many an item tells `server` and `originalName`, and one that does not is left out.
 */
export function visibleItems(engine: PolicyEngine, request: Request, response: Json): Json | Promise<Json> {
  const shape = ITEMS.get(request.method);
  const items = shape === undefined ? undefined : response[shape[0]];
  if (shape === undefined || !Array.isArray(items) || items.length === 0) return response;
  const [key, subject, field] = shape;
  const operation = operationOf(request.method);
  const verdicts = (items as unknown[]).map((item) => {
    const server = request.server ?? textOf(item, 'server');
    // A resource is its URI, whatever it calls itself; tools and prompts have an exposed name besides their own.
    const original = field === 'name' && request.server === undefined ? 'originalName' : field;
    const name = textOf(item, original) ?? textOf(item, field);
    if (server === undefined || name === undefined) return false;
    return isVisible(engine, {
      operation,
      method: undefined,
      principal: request.principal,
      server,
      tool: subject === 'tool' ? name : undefined,
      resource: subject === 'resource' ? name : undefined,
      prompt: subject === 'prompt' ? name : undefined,
    });
  });
  return verdicts.every((verdict) => typeof verdict === 'boolean')
    ? keep(response, key, items, verdicts)
    : Promise.all(verdicts.map((verdict) => Promise.resolve(verdict))).then((settled) =>
        keep(response, key, items, settled),
      );
}

function keep(response: Json, key: string, items: readonly unknown[], verdicts: readonly boolean[]): Json {
  return verdicts.includes(false)
    ? { ...response, [key]: items.filter((_, i) => verdicts[i] === true) }
    : response;
}

function textOf(item: unknown, field: string): string | undefined {
  const value = isJson(item) ? item[field] : undefined;
  return typeof value === 'string' ? value : undefined;
}

import { isJson } from '../core/json-rpc.ts';
import type { Json } from '../core/json-rpc.ts';
import { plain } from '../core/plain.ts';
import type { Request } from '../core/request.ts';
import type { Operation, PolicyQuery } from './policy-engine.ts';

/** Where a request will go: the configured server, and the name as that server knows it (a URI for resources). */
export interface Location {
  readonly server: string;
  readonly name: string;
}

const OPERATIONS: ReadonlyMap<string, Operation> = new Map<string, Operation>([
  ['tools/call', 'tools.call'],
  ['tools/list', 'tools.list'],
  ['resources/read', 'resources.read'],
  ['resources/subscribe', 'resources.subscribe'],
  ['resources/unsubscribe', 'resources.subscribe'],
  // Asked for by hand it names many resources, if any: it is for whoever may watch all of them.
  ['subscriptions/listen', 'resources.subscribe'],
  ['resources/list', 'resources.list'],
  ['resources/templates/list', 'resources.list'],
  ['prompts/get', 'prompts.get'],
  ['prompts/list', 'prompts.list'],
  ['completion/complete', 'completion'],
  ['logging/setLevel', 'logging'],
  ['ping', 'server.connect'],
  ['initialize', 'server.connect'],
  ['server/discover', 'server.connect'],
  ['sampling/createMessage', 'sampling'],
  ['elicitation/create', 'elicitation'],
  ['roots/list', 'roots'],
]);

/** The operation behind an MCP method; `vendor` for everything that MCP does not define. */
export function operationOf(method: string): Operation {
  return OPERATIONS.get(method) ?? 'vendor';
}

/**
 * The question to ask about a request. Without a location: about the server the request names, if any, and about what
 * would go on the wire, whatever the target was called on the way.
 */
export function queryOf(request: Request, location: Location | undefined): PolicyQuery {
  const operation = operationOf(request.method);
  const { params } = request;
  const ref = operation === 'completion' ? reference(params, location) : undefined;
  const tool = operation === 'tools.call' ? nameIn(request, 'name', location) : undefined;
  const prompt = operation === 'prompts.get' ? nameIn(request, 'name', location) : ref?.prompt;
  const reads = operation === 'resources.read' || operation === 'resources.subscribe';
  return new Query(
    operation,
    operation === 'vendor' ? request.method : undefined,
    request.principal,
    location?.server ?? request.server,
    tool,
    reads ? nameIn(request, 'uri', location) : ref?.resource,
    prompt,
    operation === 'vendor' ? params : argumentsOf(params),
  );
}

/** Always the same fields in the same order: one shape for the engine's innermost loop. */
const Query = plain<
  new (
    operation: Operation,
    method: string | undefined,
    principal: Request['principal'],
    server: string | undefined,
    tool: string | undefined,
    resource: string | undefined,
    prompt: string | undefined,
    given: Json | undefined,
  ) => PolicyQuery
>(function (operation, method, principal, server, tool, resource, prompt, given) {
  this['operation'] = operation;
  this['method'] = method;
  this['principal'] = principal;
  this['server'] = server;
  this['tool'] = tool;
  this['resource'] = resource;
  this['prompt'] = prompt;
  this['arguments'] = given;
});

/** Whatever stands there is given on: the engine denies what is no text. */
function nameIn(request: Request, field: 'name' | 'uri', location: Location | undefined): string | undefined {
  return location?.name ?? (request.params?.[field] as string | undefined) ?? request.target;
}

function argumentsOf(params: Json | undefined): Json | undefined {
  const given = params?.['arguments'];
  return isJson(given) ? given : undefined;
}

function reference(
  params: Json | undefined,
  location: Location | undefined,
): Pick<PolicyQuery, 'prompt' | 'resource'> {
  const ref = params?.['ref'];
  if (!isJson(ref)) return {};
  const { type, name, uri } = ref as { type?: unknown; name?: unknown; uri?: unknown };
  if (type === 'ref/prompt' && typeof name === 'string') return { prompt: location?.name ?? name };
  if (type === 'ref/resource' && typeof uri === 'string') return { resource: uri };
  return {};
}

const LISTED_BY: ReadonlyMap<Operation, Operation> = new Map<Operation, Operation>([
  ['tools.call', 'tools.list'],
  ['resources.read', 'resources.list'],
  ['resources.subscribe', 'resources.list'],
  ['prompts.get', 'prompts.list'],
]);

const USED_BY: ReadonlyMap<Operation, Operation> = new Map<Operation, Operation>([
  ['tools.list', 'tools.call'],
  ['resources.list', 'resources.read'],
  ['prompts.list', 'prompts.get'],
]);

/** The question whether the thing asked about may be seen at all; `undefined` where nothing lists it. */
export function listingOf(query: PolicyQuery): PolicyQuery | undefined {
  const listed = LISTED_BY.get(query.operation);
  if (listed !== undefined) return { ...query, operation: listed };
  if (query.operation !== 'completion') return undefined;
  if (query.prompt !== undefined) return { ...query, operation: 'prompts.list' };
  return query.resource === undefined ? undefined : { ...query, operation: 'resources.list' };
}

/** The same thing, used rather than seen. */
export function useOf(listing: PolicyQuery): PolicyQuery {
  const used = USED_BY.get(listing.operation);
  return used === undefined ? listing : { ...listing, operation: used };
}

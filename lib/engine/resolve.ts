import type { Catalog, LookupOptions } from '../catalog/catalog.ts';
import { TroupeError, type ErrorCode } from '../core/errors.ts';
import type { ListKind } from '../core/events.ts';
import type { Handler, Interceptor, Response } from '../core/interceptor.ts';
import { isJson, type Json } from '../core/json-rpc.ts';
import { addressed, amend, type OperationClass, type Request } from '../core/request.ts';
import type { RoutingRules } from '../routing/rules.ts';
import { hasStandIn } from './failover.ts';
import { earlyLists, ensureListed, stillListing, unless } from './listing.ts';
import type { View } from './scopes.ts';
import type { Server } from './server.ts';
import { isThenable } from '../security/policy-engine.ts';
import type { Sight } from './sight.ts';

export interface ResolveDeps {
  /** The servers and lists that a principal has. */
  readonly view: (principal: Request['principal']) => View;
  /** The host's word on where resources are; it counts before what servers list. */
  readonly rules: RoutingRules;
  /** What the principal can know of; `undefined` without a policy. */
  readonly sight?: Sight | undefined;
}

/** What finds the server of a method: its kind of list, and where the name stands in the params. */
interface Finder {
  readonly kind: ListKind;
  /** The server and the params as it knows them; throws `not_found` or `ambiguous_name`. */
  find(request: Asked, catalog: Catalog, among: LookupOptions | undefined, rules: RoutingRules): Found;
}

type Asked = Pick<Request, 'params' | 'target' | 'method'> & { readonly principal?: Request['principal'] };

interface Found {
  readonly server: string;
  readonly params: Json;
  /** Of the tool, as the server claims. */
  readonly annotations?: Json | undefined;
  /** The name asked for is the exposed one, which nothing else has. */
  readonly own?: boolean | undefined;
  /** A resource that is listed by its URI: only a server declared earlier may come before. */
  readonly listed?: boolean | undefined;
  /** No list that is still to come has a say in it. */
  readonly sure?: boolean | undefined;
  /** Servers to ask when the first has no such thing. */
  readonly others?: readonly string[] | undefined;
}

/**
 * Turns the exposed name into a server and the name it knows. Below the host's interceptors, so that a name they
 * rewrite is looked up; above audit and policy, so that they know the server. A name that no inventory has yet is
 * waited for while a server that could have it connects.
 */
export function resolve(deps: ResolveDeps): Interceptor {
  return (next) => (request) => {
    const seen = seenAmong(request, deps.view(request.principal), deps.sight);
    if (seen === undefined) return resolved(request, deps, next);
    return unless(request.cancellation, seen).then(() => resolved(request, deps, next));
  };
}

function resolved(request: Request, deps: ResolveDeps, next: Handler): Promise<Response> {
  if (request.facts.among?.length === 0) return Promise.reject(nobody(true));
  if (request.server !== undefined) return given(request, deps, next);
  const finder = FINDERS[request.method];
  if (finder === undefined) return only(request, deps, next);
  const found = attempt(finder, request, deps, request.facts.among);
  if (found instanceof TroupeError) {
    return found.code === 'not_found' ? search(request, finder, found, deps, next) : Promise.reject(found);
  }
  if (found.own === true || found.sure === true) return ask(request, found, deps, next);
  // Whose name it is not, it may be another's as well: those that are about to say so are heard first.
  const view = deps.view(request.principal);
  const others = askable(
    stillListing(view, finder.kind, request.facts.among).filter(
      (server) => found.listed !== true || isBefore(server.name, found.server, view),
    ),
    request,
    finder,
    deps,
  );
  return others.length === 0
    ? ask(request, found, deps, next)
    : afterOthers(request, finder, others, deps, next);
}

/** Whether it is declared earlier, so that it is asked first for a resource that both list. */
function isBefore(name: string, other: string, { servers }: View): boolean {
  for (const one of servers.keys()) if (one === name || one === other) return one === name;
  return false;
}

/**
 * Of the servers that the caller allows leaves those that are there for the principal: not even that there are others may be
 * told. Without a policy all stay, and the errors name them.
 */
export function seenAmong(request: Request, view: View, sight: Sight | undefined): Promise<void> | undefined {
  const { facts, principal } = request;
  if (facts.among === undefined || sight === undefined) return undefined;
  const there = facts.among.filter((name) => view.servers.has(name));
  const hidden = there.map((name) => sight.hides(name, principal));
  const keep = (answers: readonly boolean[]): void => {
    facts.among = there.filter((_, i) => !answers[i]);
  };
  if (hidden.some(isThenable)) return Promise.all(hidden.map((answer) => Promise.resolve(answer))).then(keep);
  keep(hidden as readonly boolean[]);
  return undefined;
}

async function afterOthers(
  request: Request,
  finder: Finder,
  others: readonly Server[],
  deps: ResolveDeps,
  next: Handler,
): Promise<Response> {
  await earlyLists(others, finder.kind, request.cancellation);
  const found = attempt(finder, request, deps, request.facts.among);
  if (found instanceof TroupeError) throw found;
  return ask(request, found, deps, next);
}

/** The server that a request of this shape would go to by what is known now. */
export function holderOf(request: Asked, deps: ResolveDeps, among?: readonly string[]): Server | undefined {
  const finder = FINDERS[request.method];
  const { servers } = deps.view(request.principal);
  const found = finder === undefined ? undefined : attempt(finder, request, deps, among);
  if (found !== undefined && !(found instanceof TroupeError)) return servers.get(found.server);
  const allowed = [...servers.values()].filter(({ name }) => among?.includes(name) !== false);
  if (allowed.length === 1) return allowed[0];
  return allowed.find((server) => isLikely(server, request));
}

/** An exposed name begins with the name of its server, unless the host names things otherwise. */
function isLikely({ name }: Server, { target }: Pick<Request, 'target'>): boolean {
  return target?.startsWith(`${name}__`) === true;
}

/** The request as the policy would see it, by what is known now; `undefined` where nobody has such a thing. */
export function locate(request: Request, deps: ResolveDeps): Request | undefined {
  const finder = FINDERS[request.method === 'resources/subscribe' ? 'resources/read' : request.method];
  if (finder === undefined) {
    const [first, ...rest] = deps.view(request.principal).servers.keys();
    return request.server !== undefined || first === undefined || rest.length > 0
      ? request
      : amend(request, { server: first });
  }
  const found = attempt(finder, request, deps, request.server === undefined ? undefined : [request.server]);
  return found instanceof TroupeError
    ? undefined
    : amend(request, { server: found.server, params: found.params });
}

/** The search as a value: not finding is an ordinary outcome here. */
function attempt(
  finder: Finder,
  request: Asked,
  deps: ResolveDeps,
  among?: readonly string[],
): Found | TroupeError {
  const { sight } = deps;
  // What may not be seen goes on to the policy all the same: to be refused there, on record, with the error of here; or
  // to be let through, where a rule allows the use and forbids only the sight.
  const anyhow = tryFind(finder, request, deps, lookup(among));
  // A name that is exactly one thing's own means that thing, whoever may see it: the sight need not be asked.
  if (sight === undefined || (!(anyhow instanceof TroupeError) && anyhow.own === true)) return anyhow;
  const visible = sight.visible(request.principal, finder.kind);
  const found = tryFind(finder, request, deps, { ...lookup(among), visible });
  if (!(found instanceof TroupeError)) return found;
  if (!(anyhow instanceof TroupeError)) return anyhow;
  return sight.vague ? plain(found, request) : found;
}

function tryFind(
  finder: Finder,
  request: Asked,
  deps: ResolveDeps,
  options: LookupOptions | undefined,
): Found | TroupeError {
  try {
    return finder.find(request, deps.view(request.principal).catalog(), options, deps.rules);
  } catch (error) {
    return TroupeError.from(error);
  }
}

/** Without the names of others: a policy that cannot be asked in passing has not said who may know them. */
function plain({ code }: TroupeError, request: Asked): TroupeError {
  const what = `"${nameOf(request)}"`;
  return new TroupeError(
    code,
    code === 'ambiguous_name'
      ? `${what} is the name of more than one; give the exposed name`
      : `nothing is known as ${what}`,
  );
}

function nameOf({ target, method }: Asked): string {
  return target ?? method;
}

/** The error for a name that nobody knows, as the principal would get it: what is hidden must not differ from it. */
export function unknownTo(request: Request, deps: ResolveDeps): TroupeError {
  const { sight } = deps;
  const finder = FINDERS[request.method === 'resources/subscribe' ? 'resources/read' : request.method];
  if (finder === undefined || sight?.vague !== false) return plain(new TroupeError('not_found', ''), request);
  const visible = sight.visible(request.principal, finder.kind);
  const asked =
    request.method === 'completion/complete' ? { ...request, params: { ref: refOf(request) } } : request;
  const found = tryFind(finder, asked, deps, { visible });
  // Found after all, at another server that may be seen: the name is known, but not of this one.
  return found instanceof TroupeError && found.code === 'not_found'
    ? found
    : plain(new TroupeError('not_found', ''), request);
}

/** As the caller wrote it: by now the params carry the server's own name. */
function refOf({ params, target }: Request): Json {
  const ref = params?.['ref'];
  if (!isJson(ref)) return {};
  return ref['type'] === 'ref/prompt' && target !== undefined ? { ...ref, name: target } : ref;
}

/** The caller named the server; an exposed name of that server is still turned into its own. */
function given(request: Request, deps: ResolveDeps, next: Handler): Promise<Response> {
  const { server } = request;
  const { sight } = deps;
  const view = deps.view(request.principal);
  const { servers } = view;
  const named = server === undefined ? undefined : servers.get(server);
  if (server === undefined || named === undefined)
    return Promise.reject(noServer(server ?? '', { servers }, sight));
  if (sight !== undefined) next = hiding(server, sight, servers, next);
  request.facts.server = server;
  const finder = FINDERS[request.method];
  if (finder === undefined) return next(request);
  const found = attempt(finder, request, deps, [server]);
  return found instanceof TroupeError &&
    mayBeExposed(named, request, view) &&
    !view.knows(server, finder.kind)
    ? afterListing(named, request, finder, deps, next)
    : asKnown(request, found, deps, next);
}

/** Under its own name, where that is known; else the server knows best what was meant. */
function asKnown(
  request: Request,
  found: Found | TroupeError,
  deps: ResolveDeps,
  next: Handler,
): Promise<Response> {
  return found instanceof TroupeError
    ? next(request)
    : next(amend(request, { params: found.params, operation: operationOf(request, found, deps) }));
}

/** Whether the name may be one that we have given: then only the list of the server tells what it calls it. */
function mayBeExposed(server: Server, request: Request, { catalog }: View): boolean {
  return isLikely(server, request) || typeof catalog().naming === 'function';
}

async function afterListing(
  server: Server,
  request: Request,
  finder: Finder,
  deps: ResolveDeps,
  next: Handler,
): Promise<Response> {
  const { cancellation } = request;
  for (const asked of askable([server], request, finder, deps))
    await ensureListed(asked, finder.kind, { cancellation, again: false, knows: () => false });
  cancellation.throwIfCancelled();
  return asKnown(request, attempt(finder, request, deps, [server.name]), deps, next);
}

/** With a policy not everybody may know who else is there. */
export function noServer(
  server: string,
  { servers }: Pick<View, 'servers'>,
  sight: Sight | undefined,
): TroupeError {
  const known = sight === undefined ? `; there are ${[...servers.keys()].join(', ') || 'none'}` : '';
  return new TroupeError('not_found', `no server "${server}"${known}`);
}

/** A server of which nothing may be seen does not exist, whoever names it. */
function hiding(server: string, sight: Sight, servers: ReadonlyMap<string, Server>, next: Handler): Handler {
  return (request) =>
    next(request).catch(async (error: unknown) => {
      throw (await isRefusalOfHidden(error, server, sight, request))
        ? noServer(server, { servers }, sight)
        : error;
    });
}

export function isRefusalOfHidden(
  error: unknown,
  server: string,
  sight: Sight | undefined,
  request: Request,
): boolean | Promise<boolean> {
  const refused = error instanceof TroupeError && error.code === 'not_found' && error.delivery === 'unsent';
  return refused && sight !== undefined && hides(server, sight, request);
}

function hides(server: string, sight: Sight, request: Request): boolean | Promise<boolean> {
  const hidden = sight.hides(server, request.principal);
  return isThenable(hidden) ? unless(request.cancellation, hidden) : hidden;
}

/** There is no server to ask, or none `among` those that the caller allows. */
export function nobody(among: boolean): TroupeError {
  return new TroupeError(
    'not_found',
    among ? '`servers` names no server there is' : 'the fleet is empty: there is no server to ask',
  );
}

/** A method that names nothing goes to the only server there is. */
function only(request: Request, deps: ResolveDeps, next: Handler): Promise<Response> {
  const { among } = request.facts;
  const known = [...deps.view(request.principal).servers.keys()];
  const [first, ...rest] = among === undefined ? known : known.filter((name) => among.includes(name));
  if (first === undefined) return Promise.reject(nobody(known.length > 0));
  if (rest.length > 0) {
    return Promise.reject(
      new TroupeError(
        'invalid_request',
        `${request.method}: say which server${deps.sight === undefined ? ` (${[first, ...rest].join(', ')})` : ''}`,
      ),
    );
  }
  request.facts.server = first;
  return next(amend(request, { server: first }));
}

async function search(
  request: Request,
  finder: Finder,
  missing: TroupeError,
  deps: ResolveDeps,
  next: Handler,
): Promise<Response> {
  const { cancellation } = request;
  const { servers, knows } = deps.view(request.principal);
  const { among } = request.facts;
  const allowed = [...servers.values()].filter(({ name }) => among?.includes(name) !== false);
  const unknown = allowed.filter((server) => !knows(server.name, finder.kind));
  // A server whose name begins the exposed name is the likely holder; only if there is none, everybody is waited for.
  const likely = unknown.filter((server) => isLikely(server, request));
  const asked = askable(likely.length > 0 ? likely : unknown, request, finder, deps);
  const outcomes = await Promise.all(
    asked.map((server) =>
      ensureListed(server, finder.kind, { cancellation, again: false, knows: () => false }),
    ),
  );
  cancellation.throwIfCancelled();
  const found = asked.length === 0 ? missing : attempt(finder, request, deps, among);
  if (!(found instanceof TroupeError)) return ask(request, found, deps, next);
  if (found.code !== 'not_found') throw found;
  const failed = await firstSeen(
    outcomes.filter(({ error }) => error !== undefined),
    ({ server }) => server,
    request,
    deps,
  );
  // It cannot say, but a server declared equivalent answers in its place: both mean the same by the same name.
  const replaced = likely.find((server) => hasStandIn(server, servers));
  if (replaced !== undefined && finder.kind !== 'resources' && request.method !== 'completion/complete') {
    const name = request.target?.slice(replaced.name.length + 2);
    return ask(request, { server: replaced.name, params: { ...request.params, name } }, deps, next);
  }
  // A name that begins with that of a server which has listed is known not to be there; any other may be that of one that is
  // down. Under a policy such a name has to end like one that is hidden, and of that is said only that it is not there.
  const namesake = likely.length > 0 || allowed.some((server) => isLikely(server, request));
  const mayBeAnybodys = !namesake && finder.kind !== 'resources' && deps.sight === undefined;
  if (likely.length > 0 || mayBeAnybodys) {
    const unsure = cannotTell(request, failed);
    if (unsure !== undefined) throw unsure;
  }
  if (request.method !== 'resources/read') throw found;
  // Nobody lists it, but a resource may be readable all the same: whoever has resources is asked, in order.
  const readers = allowed.filter((s) => s.connected?.connection.session?.supports('resources/read') === true);
  const [first, ...others] = readers.map((server) => server.name);
  if (first === undefined) throw cannotTell(request, failed) ?? found;
  return ask(request, { server: first, params: request.params ?? {}, others }, deps, next);
}

/** The first of a server that the principal may know of. */
async function firstSeen<T>(
  all: readonly T[],
  serverOf: (of: T) => string,
  request: Request,
  { sight }: ResolveDeps,
): Promise<T | undefined> {
  for (const one of all) if (sight === undefined || !(await hides(serverOf(one), sight, request))) return one;
  return undefined;
}

/** Who may have it could not say so. */
function cannotTell(
  { target, method }: Request,
  failed: { readonly server: string; readonly error: TroupeError | undefined } | undefined,
): TroupeError | undefined {
  if (failed?.error === undefined) return undefined;
  const { server, error } = failed;
  return new TroupeError(
    TELLING.has(error.code) ? error.code : 'unavailable',
    `cannot tell whether it has "${target ?? method}": ${error.detail}`,
    { server, retryAfterMs: error.retryAfterMs, data: error.data, cause: error },
  );
}

/** Nobody is woken or asked for lists over a name that this principal would be refused there anyhow. */
function askable(
  servers: readonly Server[],
  { principal, target, method, params }: Request,
  { kind }: Finder,
  { sight }: ResolveDeps,
): readonly Server[] {
  // Of a completion the params say what it is about; a policy of the host's own cannot be asked so often.
  if (sight === undefined || sight.vague || target === undefined || method === 'completion/complete')
    return servers;
  const visible = sight.visible(principal, kind);
  const uri = params?.['uri'];
  return servers.filter(({ name }) => {
    if (kind === 'resources') return visible(name, typeof uri === 'string' ? uri : target);
    return visible(name, target.startsWith(`${name}__`) ? target.slice(name.length + 2) : target);
  });
}

function ask(request: Request, found: Found, deps: ResolveDeps, next: Handler): Promise<Response> {
  request.facts.server = found.server;
  const { server, params } = found;
  const batch = request.batch || deps.view(request.principal).servers.get(server)?.config.batch !== undefined;
  const answer = next(addressed(request, server, params, operationOf(request, found, deps), batch));
  return found.others === undefined || found.others.length === 0
    ? answer
    : orOthers(answer, request, found, deps, next);
}

/** Why a server has not listed anything, where that is for the caller to act on and not a server that is down. */
const TELLING: ReadonlySet<ErrorCode> = new Set(['auth_required', 'queue_full', 'rate_limited', 'stopped']);

/** What a server says of its own tools is a claim; it counts only where the server is trusted. */
function operationOf(request: Request, found: Found, deps: ResolveDeps): OperationClass {
  const { annotations } = found;
  if (annotations === undefined) return request.operation;
  if (deps.view(request.principal).servers.get(found.server)?.config.trusted !== true)
    return request.operation;
  if (annotations['readOnlyHint'] === true) return 'read-only';
  return annotations['idempotentHint'] === true ? 'idempotent' : request.operation;
}

async function orOthers(
  answer: Promise<Response>,
  request: Request,
  found: Found,
  deps: ResolveDeps,
  next: Handler,
): Promise<Response> {
  try {
    return await answer;
  } catch (error) {
    const [other, ...others] = found.others ?? [];
    if (other === undefined || !(error instanceof TroupeError) || error.code !== 'not_found') throw error;
    return ask(request, { ...found, server: other, others }, deps, next);
  }
}

/** A class for the reason that `Copy` in `core/request.ts` tells. */
class FoundByName implements Found {
  readonly server: string;
  readonly params: Json;
  readonly annotations: Json | undefined;
  readonly own: boolean;
  readonly others = undefined;

  constructor(server: string, params: Json, annotations: Json | undefined, own: boolean) {
    this.server = server;
    this.params = params;
    this.annotations = annotations;
    this.own = own;
  }
}

const FINDERS: Readonly<Record<string, Finder>> = {
  'tools/call': {
    kind: 'tools',
    find(request, catalog, among) {
      const { server, originalName, name, annotations } = catalog.tool(request.target ?? '', among);
      const own = name === request.target;
      return new FoundByName(server, { ...request.params, name: originalName }, annotations, own);
    },
  },
  'prompts/get': {
    kind: 'prompts',
    find(request, catalog, among) {
      const { server, originalName, name } = catalog.prompt(request.target ?? '', among);
      const own = name === request.target;
      return new FoundByName(server, { ...request.params, name: originalName }, undefined, own);
    },
  },
  'resources/read': {
    kind: 'resources',
    find(request, catalog, among, rules) {
      const ruled =
        among?.servers === undefined ? ruledServers(request.target ?? '', catalog, rules) : undefined;
      if (ruled !== undefined)
        return { server: ruled[0] ?? '', params: request.params ?? {}, others: ruled.slice(1), sure: true };
      const { by, servers } = catalog.resource(request.target ?? '', among);
      const [first = '', ...others] = servers;
      return { server: first, params: request.params ?? {}, others, listed: by === 'uri' };
    },
  },
  'completion/complete': {
    kind: 'prompts',
    find(request, catalog, among) {
      const ref = request.params?.['ref'];
      if (!isJson(ref)) throw new TroupeError('not_found', 'params.ref is not an object');
      if (ref['type'] === 'ref/resource') {
        const [first = ''] = catalog.resource(String(ref['uri']), among).servers;
        // The lists of prompts that are on their way have no say in it.
        return { server: first, params: request.params ?? {}, sure: true };
      }
      const { server, originalName, name } = catalog.prompt(String(ref['name']), among);
      const params = { ...request.params, ref: { ...ref, name: originalName } };
      return { server, params, own: name === ref['name'] };
    },
  },
};

/** A rule may ask for the MIME type, which only a listed resource has. */
function ruledServers(uri: string, catalog: Catalog, rules: RoutingRules): readonly string[] | undefined {
  return rules.serversFor(uri) ?? rules.serversFor(uri, mimeTypeOf(uri, catalog));
}

function mimeTypeOf(uri: string, catalog: Catalog): string | undefined {
  for (const item of catalog.list('resources'))
    if (item.uri === uri && typeof item.mimeType === 'string') return item.mimeType;
  return undefined;
}

function lookup(among: readonly string[] | undefined): { readonly servers: readonly string[] } | undefined {
  return among === undefined ? undefined : { servers: among };
}

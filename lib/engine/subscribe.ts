import type { Clock } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';
import type { Handler } from '../core/interceptor.ts';
import type { Json } from '../core/json-rpc.ts';
import { amend, type Request } from '../core/request.ts';
import { earlyLists, ensureListed, expire, stillListing, unless } from './listing.ts';
import type { RequestOptions, RequestShape } from './request-factory.ts';
import { isRefusalOfHidden, nobody, noServer, seenAmong } from './resolve.ts';
import type { View } from './scopes.ts';
import type { Server } from './server.ts';
import type { Sight } from './sight.ts';
import type { ResourceListener, Subscription } from './watched-resources.ts';

export interface SubscribeCall {
  readonly uri: string;
  readonly listener: ResourceListener;
  readonly options: RequestOptions | undefined;
  readonly begin: (shape: RequestShape, options: RequestOptions | undefined) => Request;
  readonly clock: Clock;
  /** The servers and lists that a principal has. */
  readonly view: (principal: Request['principal']) => View;
  /** The whole is one operation of the audit trail. */
  readonly recorded: (request: Request, work: Handler) => Promise<Json>;
  /** Intent and policy of each server that is asked: a refusal is on record and nothing is sent. */
  readonly guard: (request: Request, work: Handler) => Promise<Json>;
  readonly sight: Sight | undefined;
  /** Another number after every change of the policy. */
  readonly policyRevision: () => number;
}

/** Watches a resource at the server that has it, in the order of declaration; the first that accepts keeps it. */
export async function subscribe(call: SubscribeCall): Promise<Subscription> {
  const { uri } = call;
  const request = call.begin({ method: 'resources/subscribe', params: { uri }, target: uri }, call.options);
  const { cancellation } = request;
  const view = call.view(request.principal);
  const disarm = expire(
    call.clock,
    cancellation,
    Math.round(request.deadline - request.startedAt),
    `subscribing to ${uri}`,
  );
  try {
    const made = await handedOut((begun) =>
      call.recorded(request, async () => {
        begun(await first(call, request, view));
        return NOTHING;
      }),
    );
    if (made === undefined) throw new TroupeError('internal', `nobody has begun to watch ${uri}`);
    return made;
  } finally {
    disarm();
    cancellation.settled();
  }
}

/** The first holder that accepts. */
async function first(call: SubscribeCall, request: Request, view: View): Promise<Subscription> {
  const { cancellation } = request;
  const { server: named } = request;
  if (named !== undefined && !view.servers.has(named)) throw noServer(named, view, call.sight);
  const seen = seenAmong(request, view, call.sight);
  if (seen !== undefined) await unless(cancellation, seen);
  const holders = named === undefined ? await holdersOf(call, view, request) : [named];
  let refusal: TroupeError | undefined;
  for (const name of holders) {
    const server = view.servers.get(name);
    if (server === undefined) continue;
    request.facts.server = name;
    try {
      const made = await watchAllowed(server, call, amend(request, { server: name }));
      if (made !== undefined) return made;
    } catch (error) {
      cancellation.throwIfCancelled();
      const hidden = named !== undefined && (await isRefusalOfHidden(error, name, call.sight, request));
      refusal ??= hidden ? noServer(name, view, call.sight) : TroupeError.from(error, { server: name });
    }
  }
  throw refusal ?? nobody(request.facts.among !== undefined);
}

const NOTHING = Object.freeze({});

/** `undefined` where a layer has answered by itself. */
async function watchAllowed(
  server: Server,
  call: SubscribeCall,
  request: Request,
): Promise<Subscription | undefined> {
  const revision = call.policyRevision();
  return handedOut((begun) =>
    call.guard(request, async (allowed) => {
      begun(await watchAt(server, call, allowed, revision));
      return NOTHING;
    }),
  );
}

/** What was begun within `work`, which may still fail then: nobody would hold what it has begun. */
async function handedOut(
  work: (begun: (subscription: Subscription | undefined) => void) => Promise<unknown>,
): Promise<Subscription | undefined> {
  let made: Subscription | undefined;
  let failed = false;
  const close = (): void => void made?.close().catch(() => {});
  try {
    await work((subscription) => {
      made = subscription;
      if (failed) close();
    });
  } catch (error) {
    failed = true;
    close();
    throw error;
  }
  return made;
}

/** `revision`: of the policy that has allowed it. */
async function watchAt(
  server: Server,
  call: SubscribeCall,
  request: Request,
  revision: number,
): Promise<Subscription | undefined> {
  const { name } = server;
  const { cancellation } = request;
  await ensureListed(server, 'resources', { cancellation, again: false, knows: () => false });
  cancellation.throwIfCancelled();
  const session = server.connected?.connection.session;
  if (session === undefined)
    throw new TroupeError('unavailable', 'no connection stands', { server: name, cause: server.error });
  if (!session.supports('resources/subscribe')) {
    throw new TroupeError('unsupported', 'the server does not advertise resource subscriptions', {
      server: name,
    });
  }
  // The policy has changed meanwhile: the new one is asked. What is watched from here on hears of its changes.
  if (call.policyRevision() !== revision) return watchAllowed(server, call, request);
  const added = server.watched.add(call.uri, call.listener, request);
  try {
    return await unless(cancellation, added);
  } catch (error) {
    // Made when nobody waits for it any longer, it would have nobody to close it.
    void added.then((subscription) => subscription.close()).catch(() => {});
    throw error;
  }
}

async function holdersOf(
  { uri, sight }: SubscribeCall,
  view: View,
  request: Request,
): Promise<readonly string[]> {
  const { cancellation, facts } = request;
  const isAllowed = (name: string): boolean => facts.among?.includes(name) !== false;
  const mayBeAsked = ({ name }: Server): boolean =>
    isAllowed(name) && sight?.rulesOut(name, request.principal) !== true;
  await earlyLists(stillListing(view, 'resources').filter(mayBeAsked), 'resources', cancellation);
  const listed = listedBy(uri, view).filter(isAllowed);
  if (listed.length > 0) return listed;
  const unknown = [...view.servers.values()].filter(
    (server) => !view.knows(server.name, 'resources') && mayBeAsked(server),
  );
  await Promise.all(
    unknown.map((server) =>
      ensureListed(server, 'resources', { cancellation, again: false, knows: () => false }),
    ),
  );
  const found = listedBy(uri, view).filter(isAllowed);
  // Nobody lists it: whoever can be watched may have it all the same.
  return found.length > 0 ? found : [...view.servers.keys()].filter(isAllowed);
}

function listedBy(uri: string, view: View): readonly string[] {
  try {
    return view.catalog().resource(uri).servers;
  } catch (error) {
    if (TroupeError.from(error).code === 'not_found') return [];
    throw error;
  }
}

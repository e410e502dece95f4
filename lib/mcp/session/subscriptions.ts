import type { Client, McpSubscription, SubscriptionFilter } from '@modelcontextprotocol/client';
import { Cancellation } from '../../core/cancellation.ts';
import type { Clock, Disarm } from '../../core/clock.ts';
import { TroupeError } from '../../core/errors.ts';
import type { Json } from '../../core/json-rpc.ts';
import { fromSdk } from '../errors.ts';
import { announcesListChanges, supportsMethod } from './capabilities.ts';
import type { SessionRequest } from './session.ts';

/** By URI. */
export type Refusals = ReadonlyMap<string, TroupeError>;
const NOTHING_REFUSED: Refusals = new Map();

/** How a session hears of changes, in its era. */
export interface Subscriptions {
  /** Makes `uris` the whole set of watched resources. Gives back those that the server refuses, and with what words. */
  set(uris: ReadonlySet<string>): Promise<Refusals>;
  close(): void;
}

/** Legacy: one `resources/subscribe` per URI; list changes come unasked. */
export function legacySubscriptions(
  request: (request: SessionRequest) => Promise<Json>,
  timeout: (c: Cancellation) => () => void,
): Subscriptions {
  const held = new Set<string>();
  const ask = async (method: string, uri: string): Promise<void> => {
    const cancellation = new Cancellation();
    const done = timeout(cancellation);
    try {
      await request({ method, params: { uri }, cancellation });
    } finally {
      done();
    }
  };
  return {
    async set(uris) {
      const added = [...uris].filter((uri) => !held.has(uri));
      const dropped = [...held].filter((uri) => !uris.has(uri));
      for (const uri of dropped) held.delete(uri);
      for (const uri of added) held.add(uri);
      const outcomes = await Promise.allSettled([
        ...added.map((uri) => ask('resources/subscribe', uri)),
        ...dropped.map((uri) => ask('resources/unsubscribe', uri)),
      ]);
      const refused = new Map<string, TroupeError>();
      for (const [i, uri] of added.entries()) {
        const outcome = outcomes[i];
        if (outcome?.status !== 'rejected') continue;
        // Asked for again with the next change, as long as somebody wants it.
        held.delete(uri);
        refused.set(uri, TroupeError.from(outcome.reason));
      }
      return refused;
    },
    close() {
      held.clear();
    },
  };
}

export interface ModernOptions {
  readonly client: Client;
  readonly capabilities: Json;
  readonly protocolVersion: string;
  readonly clock: Clock;
  readonly server: string;
  readonly connection: string;
  readonly timeoutMs: number;
  /** Changes may have been missed while no stream was open. */
  readonly onGap: () => void;
  /** The stream cannot be opened: the server is gone, or it refuses. */
  readonly onFailed: (error: TroupeError) => void;
}

/** Wait before a listen stream is opened again: 0.5 s doubling to 30 s, as the restart backoff. */
const RELISTEN_MS = { first: 500, max: 30_000, stable: 10_000 } as const;

/**
 * Modern: one `subscriptions/listen` stream carries everything; another set of URIs means another stream, opened before
 * the old one is closed, so that nothing is missed between them. Lost streams are opened again.
 */
export function modernSubscriptions(options: ModernOptions): Subscriptions {
  const { client, capabilities, clock } = options;
  let uris: ReadonlySet<string> = new Set();
  let current: McpSubscription | undefined;
  let closed = false;
  let generation = 0;
  let retry: Disarm | undefined;
  let failures = 0;

  const filter = (): SubscriptionFilter | undefined => {
    const wanted: SubscriptionFilter = {
      ...(announcesListChanges(capabilities, 'tools') ? { toolsListChanged: true } : {}),
      ...(announcesListChanges(capabilities, 'prompts') ? { promptsListChanged: true } : {}),
      ...(announcesListChanges(capabilities, 'resources') ? { resourcesListChanged: true } : {}),
      ...(uris.size > 0 ? { resourceSubscriptions: [...uris] } : {}),
    };
    return Object.keys(wanted).length === 0 ? undefined : wanted;
  };

  const later = (): void => {
    if (closed) return;
    retry?.();
    const delay = Math.min(RELISTEN_MS.max, RELISTEN_MS.first * 2 ** Math.min(failures, 10));
    failures += 1;
    retry = clock.after(delay, () => void reopen(), { unref: true });
  };

  const reopen = async (): Promise<void> => {
    try {
      for (const error of (await open()).values()) options.onFailed(error);
      options.onGap();
    } catch (error) {
      options.onFailed(fromSdk(error, { server: options.server, connection: options.connection }));
      later();
    }
  };

  /** Until another stream stands, the one before it does. */
  const open = async (): Promise<Refusals> => {
    const mine = ++generation;
    const previous = current;
    const wanted = filter();
    if (wanted === undefined || closed) {
      current = undefined;
      await previous?.close();
      return NOTHING_REFUSED;
    }
    const opened = await client.listen(wanted, { timeout: options.timeoutMs });
    if (closed || mine !== generation) {
      await opened.close();
      return NOTHING_REFUSED;
    }
    current = opened;
    retry?.();
    retry = undefined;
    const since = clock.now();
    void opened.closed.then((how) => {
      if (how === 'local' || closed || current !== opened) return;
      current = undefined;
      if (clock.now() - since > RELISTEN_MS.stable) failures = 0;
      later();
    });
    await previous?.close();
    const honoured = new Set(opened.honoredFilter.resourceSubscriptions);
    const refused = new Map<string, TroupeError>();
    for (const uri of uris) {
      if (honoured.has(uri)) continue;
      const error = new TroupeError('unsupported', `the server does not watch ${uri}`, {
        server: options.server,
        connection: options.connection,
        delivery: 'answered',
      });
      refused.set(uri, error);
    }
    // Asked for again with the next change, as long as somebody wants it; not with every stream that is lost.
    if (refused.size > 0) uris = new Set([...uris].filter((uri) => !refused.has(uri)));
    return refused;
  };

  return {
    async set(next) {
      if (next.size > 0 && !supportsMethod(capabilities, 'resources/subscribe', options.protocolVersion)) {
        throw new TroupeError('unsupported', 'the server does not advertise resource subscriptions', {
          server: options.server,
          connection: options.connection,
        });
      }
      const before = uris;
      const wanted = new Set(next);
      uris = wanted;
      try {
        return await open();
      } catch (error) {
        // What stands goes on as it was; where nothing does, it is tried again with what is wanted.
        if (current === undefined) later();
        else if (uris === wanted) uris = before;
        throw fromSdk(error, { server: options.server, connection: options.connection });
      }
    },
    close() {
      closed = true;
      retry?.();
      const open = current;
      current = undefined;
      open?.close().catch(() => {});
    },
  };
}

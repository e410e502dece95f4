import type { Client, McpSubscription, SubscriptionFilter } from '@modelcontextprotocol/client';
import { Cancellation } from '../../core/cancellation.ts';
import type { Clock, Disarm } from '../../core/clock.ts';
import { TroupeError } from '../../core/errors.ts';
import type { Json } from '../../core/json-rpc.ts';
import { fromSdk } from '../errors.ts';
import { announcesListChanges, supportsMethod } from './capabilities.ts';
import type { SessionRequest } from './session.ts';

/** How a session hears of changes, in its era. */
export interface Subscriptions {
  /** Makes `uris` the whole set of watched resources. Rejects with what the server said to the first one it refuses. */
  set(uris: ReadonlySet<string>): Promise<void>;
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
      const refused = outcomes.slice(0, added.length).findIndex((o) => o.status === 'rejected');
      if (refused < 0) return;
      const uri = added[refused];
      if (uri !== undefined) held.delete(uri);
      throw (outcomes[refused] as PromiseRejectedResult).reason;
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
      await open();
      options.onGap();
    } catch (error) {
      options.onFailed(fromSdk(error, { server: options.server, connection: options.connection }));
      later();
    }
  };

  const open = async (): Promise<void> => {
    const mine = ++generation;
    const previous = current;
    const wanted = filter();
    current = undefined;
    if (wanted === undefined || closed) {
      await previous?.close();
      return;
    }
    const opened = await client.listen(wanted, { timeout: options.timeoutMs });
    if (closed || mine !== generation) {
      await opened.close();
      return;
    }
    current = opened;
    const since = clock.now();
    void opened.closed.then((how) => {
      if (how === 'local' || closed || current !== opened) return;
      current = undefined;
      if (clock.now() - since > RELISTEN_MS.stable) failures = 0;
      later();
    });
    await previous?.close();
    const honoured = new Set(opened.honoredFilter.resourceSubscriptions);
    const refused = [...uris].find((uri) => !honoured.has(uri));
    if (refused !== undefined) {
      throw new TroupeError('unsupported', `the server does not watch ${refused}`, {
        server: options.server,
        connection: options.connection,
        delivery: 'answered',
      });
    }
  };

  return {
    async set(next) {
      if (next.size > 0 && !supportsMethod(capabilities, 'resources/subscribe', options.protocolVersion)) {
        throw new TroupeError('unsupported', 'the server does not advertise resource subscriptions', {
          server: options.server,
          connection: options.connection,
        });
      }
      uris = new Set(next);
      try {
        await open();
      } catch (error) {
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

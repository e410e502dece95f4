import { errorText, TroupeError } from '../core/errors.ts';
import type { Json } from '../core/json-rpc.ts';
import type { Logger } from '../core/ports.ts';
import type { Request } from '../core/request.ts';
import type { Session } from '../mcp/session/session.ts';
import type { Refusals } from '../mcp/session/subscriptions.ts';

/** Called with the params of each `notifications/resources/updated` for the resource, and the server it came from. */
export type ResourceListener = (update: {
  readonly uri: string;
  readonly server: string;
  readonly params: Json;
}) => void;

export interface Subscription {
  readonly uri: string;
  readonly server: string;
  /** Ends it; the server is told when nobody else watches. Idempotent. */
  close(): Promise<void>;
}

const NOTHING_REFUSED: Refusals = new Map();

export type MayHear = (request: Request, uri: string) => boolean | Promise<boolean>;

/** One who watches one resource. */
interface Watcher {
  readonly tell: ResourceListener;
  /** As it was when it was allowed. */
  readonly request: Request;
  /** Whether it may go on, while that is being decided; never rejects. */
  verdict: Promise<boolean> | undefined;
}

/**
 * Watched resources of one server, counted by reference. The set outlives sessions: each new one is told the whole of
 * it, in its era's way.
 */
export class WatchedResources {
  readonly #server: string;
  readonly #logger: Logger;
  readonly #mayHear: MayHear;
  readonly #listeners = new Map<string, Set<Watcher>>();
  #session: Session | undefined;
  /** By URI: that the server has been told of the first who watches; rejects with its refusal. */
  readonly #told = new Map<string, Promise<void>>();
  /** Never rejects. */
  #last: Promise<void> = Promise.resolve();
  #over = false;

  /** @param mayHear whether who watches may know of a resource below the one that was allowed; must not throw or reject */
  constructor(server: string, logger: Logger, mayHear: MayHear = () => true) {
    this.#server = server;
    this.#logger = logger;
    this.#mayHear = mayHear;
  }

  get size(): number {
    return this.#listeners.size;
  }

  get uris(): Iterable<string> {
    return this.#listeners.keys();
  }

  /**
   * A session stands: it gets the whole set, unless one of another replica has it already. `onFailed` hears of what it
   * refuses.
   */
  attach(session: Session, onFailed: (error: TroupeError) => void): void {
    if (this.#session !== undefined && this.#session !== session) {
      // Its change stream is wanted all the same; in the legacy era there is nothing to open.
      if (session.era === 'modern')
        session.setSubscriptions(new Set()).catch((error: unknown) => onFailed(error as TroupeError));
      return;
    }
    this.#session = session;
    if (session.era === 'modern' || this.#listeners.size > 0) {
      this.#apply().then(
        (refused) => {
          for (const error of refused.values()) onFailed(error);
        },
        (error: unknown) => onFailed(error as TroupeError),
      );
    }
  }

  detach(session: Session): void {
    if (this.#session === session) this.#session = undefined;
  }

  /** Begins to watch on behalf of `request`. Rejects, and forgets, when the server refuses. */
  async add(uri: string, listener: ResourceListener, request: Request): Promise<Subscription> {
    let set = this.#listeners.get(uri);
    const isNew = set === undefined;
    if (set === undefined) {
      set = new Set();
      this.#listeners.set(uri, set);
    }
    // An object of its own, so that one function may watch twice and be ended once.
    const own: Watcher = { tell: listener, request, verdict: undefined };
    set.add(own);
    if (isNew) this.#told.set(uri, this.#begun(uri));
    try {
      await this.#told.get(uri);
    } catch (error) {
      this.#drop(uri, own);
      throw error;
    }
    if (this.#over) throw new TroupeError('stopped', 'the server was removed', { server: this.#server });
    if (!set.has(own)) {
      throw new TroupeError('denied', `not allowed any more: resources/subscribe ${uri}`, {
        server: this.#server,
        data: { reason: 'policy' },
      });
    }
    let open = true;
    return {
      uri,
      server: this.#server,
      close: async () => {
        if (!open) return;
        open = false;
        if (this.#drop(uri, own)) await this.#apply().catch(() => {});
      },
    };
  }

  /** The server says that a resource changed: it, or something below it. */
  updated(params: Json): void {
    const uri = params['uri'];
    if (typeof uri !== 'string') return;
    for (const [watched, set] of this.#listeners) {
      if (uri !== watched && !uri.startsWith(watched.endsWith('/') ? watched : `${watched}/`)) continue;
      for (const watcher of set) {
        const may = this.#mayTell(watcher, uri, watched);
        if (may === true) this.#tell(watcher, uri, params);
        else if (may !== false) void this.#tellLater(watcher, uri, params, set, may);
      }
    }
  }

  /**
   * The policy is another one: whoever may not go on hears nothing from now on, and the server is told where nobody else
   * watches. While a policy takes its time over someone, updates wait for its answer. `allows` must not throw or reject.
   */
  async review(allows: (request: Request) => boolean | Promise<boolean>): Promise<void> {
    let gone = false;
    const later: Array<Promise<boolean>> = [];
    for (const [uri, set] of this.#listeners) {
      for (const watcher of set) {
        const allowed = allows(watcher.request);
        if (allowed === false) gone = this.#drop(uri, watcher) || gone;
        if (typeof allowed === 'boolean') continue;
        watcher.verdict = allowed.then((may) => {
          watcher.verdict = undefined;
          if (!may) gone = this.#drop(uri, watcher) || gone;
          return may;
        });
        later.push(watcher.verdict);
      }
    }
    await Promise.all(later);
    // A server that is slow to hear of it holds up nobody: its updates lead nowhere.
    if (gone) this.#apply().catch(() => {});
  }

  /** Ends it for all who watch, for good; those are returned. */
  endAll(): Request[] {
    this.#over = true;
    const watchers = [...this.#listeners.values()].flatMap((set) => [...set]);
    // Also for those who wait for the policy's answer over an update.
    for (const set of this.#listeners.values()) set.clear();
    this.#listeners.clear();
    this.#told.clear();
    return watchers.map(({ request }) => request);
  }

  /** Whoever may go on watching may still not know of everything below what it watches. */
  #mayTell({ verdict, request }: Watcher, uri: string, watched: string): boolean | Promise<boolean> {
    const hears = (): boolean | Promise<boolean> => uri === watched || this.#mayHear(request, uri);
    return verdict === undefined ? hears() : verdict.then((goesOn) => goesOn && hears());
  }

  async #tellLater(
    watcher: Watcher,
    uri: string,
    params: Json,
    set: ReadonlySet<Watcher>,
    verdict: Promise<boolean>,
  ): Promise<void> {
    if ((await verdict) && set.has(watcher)) this.#tell(watcher, uri, params);
  }

  #tell({ tell }: Watcher, uri: string, params: Json): void {
    try {
      tell({ uri, server: this.#server, params });
    } catch (error) {
      this.#logger.warn('a resource listener threw', {
        server: this.#server,
        uri,
        error: errorText(error),
      });
    }
  }

  #drop(uri: string, watcher: Watcher): boolean {
    const set = this.#listeners.get(uri);
    if (set === undefined || !set.delete(watcher) || set.size > 0) return false;
    this.#listeners.delete(uri);
    this.#told.delete(uri);
    return true;
  }

  /** What the server says to others is theirs. */
  async #begun(uri: string): Promise<void> {
    const refusal = (await this.#apply()).get(uri);
    if (refusal !== undefined) throw refusal;
  }

  /** One change at a time, in order; what the server refuses of the whole. */
  #apply(): Promise<Refusals> {
    const done = this.#last.then(
      () => this.#session?.setSubscriptions(new Set(this.#listeners.keys())) ?? NOTHING_REFUSED,
    );
    this.#last = done.then(
      () => {},
      () => {},
    );
    return done;
  }
}

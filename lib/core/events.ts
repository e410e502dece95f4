import type { TroupeError } from './errors.ts';
import type { Json } from './json-rpc.ts';

export type ConnectionState =
  | 'Disconnected'
  | 'Connecting'
  | 'Initializing'
  | 'Connected'
  | 'Disconnecting'
  | 'Error'
  | 'AuthRequired';

export type ProcessState = 'Created' | 'Starting' | 'Running' | 'Stopping' | 'Stopped';

export type Era = 'legacy' | 'modern';
export type BreakerState = 'closed' | 'open' | 'half-open';
export type ListKind = 'tools' | 'resources' | 'resourceTemplates' | 'prompts';

/** One kind of hidden characters in one text of a definition. */
export interface ItemFlag {
  /** Where: `inputSchema.properties.path.description` for example; a key ends with ` (key)`. */
  readonly path: string;
  /**
   * What: `tag` is ASCII that is not drawn, `ansi` moves the cursor of a terminal. `unchecked`: there is so much of it that
   * from here on nothing was looked at.
   */
  readonly kind:
    | 'tag'
    | 'bidi'
    | 'zero-width'
    | 'filler'
    | 'variation'
    | 'control'
    | 'surrogate'
    | 'ansi'
    | 'unchecked';
  readonly count: number;
  /** Where the first stands in that text, UTF-16 code units. */
  readonly offset: number;
  /** Surroundings of the first, made visible. */
  readonly excerpt: string;
  /** What tags spell. */
  readonly hidden?: string | undefined;
}

/** Everything the engine tells about itself: a closed union, names in the past tense. `at` is wall time in milliseconds. */
export type EngineEvent =
  | {
      readonly type: 'connection.changed';
      readonly at: number;
      readonly connection: string;
      readonly server: string;
      readonly from: ConnectionState;
      readonly to: ConnectionState;
      readonly attempt: number;
      readonly error?: TroupeError | undefined;
      /** Milliseconds until the next attempt, where one is planned. */
      readonly retryInMs?: number | undefined;
      readonly parked?: boolean | undefined;
    }
  | {
      readonly type: 'process.changed';
      readonly at: number;
      readonly connection: string;
      readonly server: string;
      readonly from: ProcessState;
      readonly to: ProcessState;
      readonly pid?: number | undefined;
    }
  | {
      readonly type: 'connection.oddity';
      readonly at: number;
      readonly connection: string;
      readonly server: string;
      readonly error: TroupeError;
      /** Oddities of this session so far; only the 1st, 2nd, 4th, 8th … is reported. */
      readonly count: number;
    }
  | {
      /** A server lists something else than before; what says the same again is no change. */
      readonly type: 'catalog.changed';
      readonly at: number;
      readonly server: string;
      readonly kinds: readonly ListKind[];
    }
  | {
      readonly type: 'catalog.item_skipped';
      readonly at: number;
      readonly server: string;
      readonly kind: ListKind;
      readonly item: string;
      readonly reason: string;
    }
  | {
      /** An item holds characters that a person does not see and a model reads. It is listed as the server wrote it. */
      readonly type: 'catalog.item_flagged';
      readonly at: number;
      readonly server: string;
      readonly kind: ListKind;
      /** Original name, URI or URI template. */
      readonly item: string;
      readonly flags: readonly ItemFlag[];
    }
  | {
      readonly type: 'catalog.name_clashed';
      readonly at: number;
      readonly name: string;
      readonly servers: readonly string[];
      readonly reason: string;
    }
  | {
      /** A name could be taken for another server's. Nothing is decided by it: every name leads where it led. */
      readonly type: 'catalog.name_resembled';
      readonly at: number;
      /** `confusable`: drawn alike. `prefix`: begins with another's name. `hidden`: holds characters that nobody sees. */
      readonly kind: 'confusable' | 'prefix' | 'hidden';
      readonly server: string;
      /** Original name of the tool; absent: the server itself. */
      readonly name?: string | undefined;
      readonly resembles?: { readonly server: string; readonly name?: string | undefined } | undefined;
      /** One sentence for a person, hidden characters shown. */
      readonly reason: string;
    }
  | {
      readonly type: 'request.settled';
      readonly at: number;
      readonly seq: number;
      readonly method: string;
      readonly target?: string | undefined;
      readonly server?: string | undefined;
      readonly connection?: string | undefined;
      readonly elapsedMs: number;
      readonly attempts: number;
      readonly ok: boolean;
      readonly error?: TroupeError | undefined;
      readonly cache?: 'hit' | 'miss' | 'stale' | 'shared' | undefined;
    }
  | {
      readonly type: 'server.notified';
      readonly at: number;
      readonly server: string;
      readonly connection: string;
      readonly method: string;
      readonly params?: Json | undefined;
    }
  | {
      readonly type: 'server.asked';
      readonly at: number;
      readonly server: string;
      readonly connection: string;
      readonly method: string;
      readonly ok: boolean;
      readonly error?: TroupeError | undefined;
    }
  | {
      readonly type: 'auth.required';
      readonly at: number;
      readonly server: string;
      readonly connection: string;
      readonly error: TroupeError;
      /** What the host needs to go on: an authorization URL, a scope. */
      readonly challenge?: Json | undefined;
    }
  | {
      readonly type: 'breaker.changed';
      readonly at: number;
      readonly server: string;
      readonly connection: string;
      readonly from: BreakerState;
      readonly to: BreakerState;
    }
  | {
      readonly type: 'tool.quarantined';
      readonly at: number;
      readonly server: string;
      readonly tool: string;
      readonly reason: string;
      readonly diff?: string | undefined;
    }
  | {
      /** Not by whoever began it: its listener hears nothing any more. Where there is an audit trail, it has the rule. */
      readonly type: 'subscription.ended';
      readonly at: number;
      readonly server: string;
      readonly uri: string;
      /** Id of whom it was for; absent: the host. */
      readonly principal?: string | undefined;
      /** It is not allowed any more, or its server, or the connections of its principal, have been taken out of the fleet. */
      readonly reason: 'policy' | 'removed';
    }
  | { readonly type: 'server.added'; readonly at: number; readonly server: string }
  | { readonly type: 'server.removed'; readonly at: number; readonly server: string }
  | {
      readonly type: 'connection.evicted';
      readonly at: number;
      readonly server: string;
      readonly connection: string;
    }
  | {
      readonly type: 'connection.probed';
      readonly at: number;
      readonly server: string;
      readonly connection: string;
      readonly ok: boolean;
      readonly elapsedMs: number;
    }
  | { readonly type: 'engine.stopped'; readonly at: number };

export type EngineEventType = EngineEvent['type'];
export type EventOf<T extends EngineEventType> = Extract<EngineEvent, { readonly type: T }>;
/** Rooms tell what happened through a function they are given; only `engine` knows who listens. */
export type Emit = (event: EngineEvent) => void;

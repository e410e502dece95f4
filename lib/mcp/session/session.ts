import type { Refusals } from './subscriptions.ts';
import type { Cancellation } from '../../core/cancellation.ts';
import type { TroupeError } from '../../core/errors.ts';
import type { Era } from '../../core/events.ts';
import type { Json } from '../../core/json-rpc.ts';
import type { Progress } from '../../core/request.ts';

/** What the host answers when a server asks: sampling, elicitation, roots. */
export interface HostDoor {
  /** Client capabilities, declared only for what the host answers. */
  readonly capabilities: Json;
  /** Rejects with the error that the server gets to see. */
  ask(method: string, params: Json | undefined, signal: AbortSignal): Promise<Json>;
}

export interface SessionRequest {
  readonly method: string;
  readonly params: Json | undefined;
  readonly cancellation: Cancellation;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** May share a transmission with others of the same turn, where the revision and the transport have such a thing. */
  readonly batch?: boolean | undefined;
}

/** What the server says by itself. Change notifications arrive the same way in both eras. */
export interface SessionObserver {
  onNotification(method: string, params: Json | undefined): void;
  /** Once; nothing follows. `auth_required` means that new credentials are needed, everything else that it is lost. */
  onLost(error: TroupeError): void;
  onOddity(error: TroupeError, count: number): void;
}

/** One opening of the protocol over one channel: disposable, never reused. */
export interface Session {
  readonly era: Era;
  readonly protocolVersion: string;
  readonly serverInfo: Json;
  readonly capabilities: Json;
  readonly instructions: string | undefined;
  readonly transport: string;
  /** Ordinary requests handed over and not yet settled. */
  readonly inFlight: number;
  /** Lost for new requests, while what was under way may still be answered. */
  readonly retired: boolean;
  /** Messages received so far; a number that stays the same is silence. */
  readonly heard: number;
  /** An ordinary request: the result as the server sent it. */
  request(request: SessionRequest): Promise<Json>;
  /** A notification to the server; in the modern era with its envelope. */
  notify(method: string, params?: Json): void;
  /** Whether the server advertises what `method` needs. */
  supports(method: string): boolean;
  observe(observer: SessionObserver): void;
  /** The resource URIs for which `notifications/resources/updated` is wanted, as a whole. */
  setSubscriptions(uris: ReadonlySet<string>): Promise<Refusals>;
  /** From which level on the server is to send log messages: a request in the legacy era, a field of each later request in the modern one. */
  setLogLevel(level: string): Promise<void>;
  /** Tells what tools look like, so that outputs are checked and headers mirrored. */
  knowTools(tools: readonly Json[]): void;
  /** Waits for what is in flight (at most `graceMs`), cancels the rest, ends the session politely. Idempotent. */
  close(graceMs: number): Promise<void>;
}

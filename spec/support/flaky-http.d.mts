interface Message {
  readonly id?: unknown;
  readonly method: string;
  readonly params?: {
    readonly name?: string;
    readonly uri?: string;
    readonly arguments?: Readonly<Record<string, unknown>>;
  };
}

/** What to do instead of answering; `ms` only delays the answer. */
export interface Order {
  readonly result?: Readonly<Record<string, unknown>>;
  readonly error?: { readonly code: number; readonly message: string };
  readonly hang?: boolean;
  readonly ms?: number;
}

export interface FlakyHttp {
  readonly url: string;
  readonly name: string;
  /** Requests that came, in order. */
  readonly seen: ReadonlyArray<Message & { readonly headers: Readonly<Record<string, string | undefined>> }>;
  /** Transmissions that came. */
  readonly posts: ReadonlyArray<{
    readonly size: number;
    readonly array: boolean;
    readonly session: string | undefined;
  }>;
  /** Runs of the tools `look`, `set` and `act`. */
  readonly runs: ReadonlyArray<{ readonly tool: string; readonly nonce: string }>;
  /** Nonces of the runs that were cancelled; '' for other requests. */
  readonly cancelled: readonly string[];
  readonly sessions: number;
  /** Whether somebody listens for changes. */
  readonly listening: boolean;
  tools: readonly Readonly<Record<string, unknown>>[];
  /** An HTTP status instead of an answer. */
  refuse:
    | ((message: Message) =>
        | {
            readonly status: number;
            readonly text?: string;
            readonly headers?: Readonly<Record<string, string>>;
          }
        | undefined)
    | undefined;
  order: ((message: Message) => Order | Promise<Order | undefined> | undefined) | undefined;
  /** Fields added to what is read and to the list of resources. */
  hints: ((message: Message) => Readonly<Record<string, unknown>>) | undefined;
  changed(method: string, params?: Readonly<Record<string, unknown>>): void;
  count(method: string): number;
  kill(): Promise<void>;
  restart(): Promise<void>;
}
export function startFlakyHttp(options?: {
  readonly revision?: string;
  readonly name?: string;
  readonly tools?: readonly Readonly<Record<string, unknown>>[];
}): Promise<FlakyHttp>;

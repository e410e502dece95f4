/** What a server may cost us. Every value has its default in `config/defaults.ts` and its reason in `reliability` §8. */
export interface Limits {
  /** One message: a stdio line, a WebSocket message, an HTTP body after decompression, one SSE event. Bytes. */
  readonly messageBytes: number;
  /** Nesting of one message, levels. */
  readonly depth: number;
  /** All headers of one HTTP response, bytes. */
  readonly headerBytes: number;
  /** Frames waiting for a peer that does not read, bytes. */
  readonly writeQueueBytes: number;
  /** Inbound notifications, counted before they are parsed: sustained rate per second … */
  readonly notificationsPerSecond: number;
  /** … and burst. */
  readonly notificationBurst: number;
  /** Silence on the response stream of one request, milliseconds. */
  readonly requestIdleMs: number;
  /** Silence on a notification stream (legacy GET, modern listen), milliseconds. */
  readonly listenIdleMs: number;
  /** Last bytes of stderr kept for error reports. */
  readonly stderrTailBytes: number;
  /** Requests of a server to the host (sampling, elicitation, roots) answered at the same time … */
  readonly serverRequestsAtOnce: number;
  /** … and per minute. */
  readonly serverRequestsPerMinute: number;
  /** Pages, items and bytes of one list. */
  readonly listPages: number;
  readonly listItems: number;
  readonly listBytes: number;
  /** One JSON Schema: bytes, nesting levels, number of `$ref`. */
  readonly schemaBytes: number;
  readonly schemaDepth: number;
  readonly schemaRefs: number;
  /** `input_required` rounds of one operation. */
  readonly inputRounds: number;
}

/** Longest URI that templates and policies look into, in characters. */
export const MAX_URI_LENGTH = 8192;

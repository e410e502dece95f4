import { readFileSync } from 'node:fs';
import type { EventOf } from '../../lib/core/events.ts';
import type { Engine } from '../../lib/engine/contract.ts';
import type { Arrival } from './scenario.ts';
import { hash32 } from '../../lib/routing/hash.ts';
import { UsageError } from './usage-error.ts';

/** A recorded request: when it came, milliseconds after the first, and how long it took. */
export interface TraceEntry extends Arrival {
  readonly target?: string | undefined;
  readonly ok?: boolean;
}

export interface TraceRecorder {
  /** Ends the recording. Entries by time of arrival. */
  stop(): readonly TraceEntry[];
  /** After `stop`: requests at the server that had not settled, and are not in the trace. Many of them: it ends too early. */
  readonly unfinished: number;
}

export interface RecordOptions {
  /** Only what went to this server. */
  readonly server?: string;
  /** What requests with the same replica have in common, a text or a whole number. Default: requests have no key. */
  readonly keyOf?: (event: EventOf<'request.settled'>) => string | number | undefined;
}

/**
 * Records the settled requests of a running engine. What is known is the latency the caller saw, so the replay takes
 * it for the work: of a loaded engine it holds the queueing too, and a replay is then pessimistic. Record at light load.
 */
export function recordTrace(
  engine: Pick<Engine, 'on' | 'fleet'>,
  { server, keyOf }: RecordOptions = {},
): TraceRecorder {
  const seen: TraceEntry[] = [];
  let unfinished = 0;
  const end = engine.on('request.settled', (event) => {
    if (server !== undefined && event.server !== server) return;
    // A request that no server saw says nothing about servers.
    if (event.server === undefined || event.attempts === 0) return;
    const key = keyOf?.(event);
    seen.push({
      at: event.at - event.elapsedMs,
      size: event.elapsedMs,
      target: event.target,
      ok: event.ok,
      ...(key !== undefined && { key: numberOf(key) }),
    });
  });
  return {
    get unfinished() {
      return unfinished;
    },
    stop() {
      end();
      unfinished = engine.fleet.connections
        .filter((row) => server === undefined || row.server === server)
        .reduce((sum, { inFlight, queued }) => sum + inFlight + queued, 0);
      const sorted = seen.sort((a, b) => a.at - b.at);
      const first = sorted[0]?.at ?? 0;
      return sorted.map((entry) => ({ ...entry, at: entry.at - first }));
    },
  };
}

/** Keys of the simulator are whole numbers from 0; any other key becomes one, the same each time. */
function numberOf(key: string | number): number {
  return typeof key === 'number' && isWhole(key) ? key : hash32(String(key)) >>> 1;
}

const isWhole = (key: unknown): boolean => Number.isSafeInteger(key) && (key as number) >= 0;

/** One JSON object a line. */
export function formatTrace(entries: readonly TraceEntry[]): string {
  return entries.map((entry) => `${JSON.stringify(entry)}\n`).join('');
}

/** Throws `UsageError` naming the line for what is no trace, or is not in order of time. */
export function readTrace(file: string): readonly TraceEntry[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    throw new UsageError(`the trace ${file} cannot be read`);
  }
  return parseTrace(text, file);
}

export function parseTrace(text: string, file = 'trace'): readonly TraceEntry[] {
  const entries: TraceEntry[] = [];
  let before = -Infinity;
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    const entry = entryOf(line);
    if (entry === undefined) {
      throw new UsageError(
        `${file}, line ${index + 1}: expected {"at": ms, "size": ms}, with no negative numbers, and "key" a text or a whole number`,
      );
    }
    if (entry.at < before) {
      throw new UsageError(
        `${file}, line ${index + 1}: the trace is not sorted by "at" (${entry.at} after ${before})`,
      );
    }
    before = entry.at;
    entries.push(entry);
  }
  if (entries.length === 0) throw new UsageError(`${file} has no requests`);
  return entries;
}

function entryOf(line: string): TraceEntry | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof parsed !== 'object' || parsed === null) return undefined;
  const { at, size, key } = parsed as Record<string, unknown>;
  if (!isTime(at) || !isTime(size)) return undefined;
  if (key === undefined || key === null) return { ...parsed, at, size, key: undefined };
  if (typeof key !== 'string' && !isWhole(key)) return undefined;
  return { ...parsed, at, size, key: numberOf(key as string | number) };
}

const isTime = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0;

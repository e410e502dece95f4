import { readFileSync } from 'node:fs';
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
}

/**
 * Records the settled requests of a running engine. What is known is the latency the caller saw, so the replay takes
 * it for the work: of a loaded engine it holds the queueing too, and a replay is then pessimistic. Record at light load.
 */
export function recordTrace(
  engine: Pick<Engine, 'on'>,
  { server }: { readonly server?: string } = {},
): TraceRecorder {
  const seen: { at: number; size: number; target: string | undefined; ok: boolean }[] = [];
  const end = engine.on('request.settled', (event) => {
    if (server !== undefined && event.server !== server) return;
    // A request that no server saw says nothing about servers.
    if (event.server === undefined || event.attempts === 0) return;
    seen.push({ at: event.at - event.elapsedMs, size: event.elapsedMs, target: event.target, ok: event.ok });
  });
  return {
    stop() {
      end();
      const sorted = seen.sort((a, b) => a.at - b.at);
      const first = sorted[0]?.at ?? 0;
      return sorted.map((entry) => ({ ...entry, at: entry.at - first, key: keyOf(entry.target) }));
    },
  };
}

/** A small whole number for a target: the same for each of its requests. */
function keyOf(target: string | undefined): number | undefined {
  return target === undefined ? undefined : hash32(target) >>> 1;
}

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
        `${file}, line ${index + 1}: expected {"at": ms, "size": ms}, with no negative numbers`,
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
  if (typeof at !== 'number' || typeof size !== 'number' || !(at >= 0) || !(size >= 0)) return undefined;
  return { ...parsed, at, size, key: typeof key === 'number' ? key : undefined };
}

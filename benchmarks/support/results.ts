import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';

/** Where results are kept; those of `npm run bench` are in the repository, since the README is drawn from them. */
const RESULTS = new URL('../results/', import.meta.url);

/** Where and how a result came about. */
export interface Origin {
  readonly command: string;
  readonly at: string;
  readonly cpu: string;
  readonly cores: number;
  readonly node: string;
  /** Of the last minute, when the measurement began. */
  readonly load1: number;
}

export type Kept<T> = T & { readonly origin: Origin };

export function originOf(command: string): Origin {
  return {
    command,
    at: new Date().toISOString().slice(0, 10),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    node: process.versions.node,
    load1: Math.round((loadavg()[0] ?? 0) * 100) / 100,
  };
}

/** Keeps the result of one run as JSON; the latest of a kind replaces the one before. */
export function keepResult(kind: string, result: unknown): void {
  keepText(`${kind}.json`, `${JSON.stringify(result, undefined, 2)}\n`);
}

export function keepText(file: string, text: string): void {
  mkdirSync(RESULTS, { recursive: true });
  writeFileSync(new URL(file, RESULTS), text);
}

/** The latest result of a kind; undefined where it was never measured. */
export function keptResult<T>(kind: string): Kept<T> | undefined {
  try {
    return JSON.parse(readFileSync(new URL(`${kind}.json`, RESULTS), 'utf8')) as Kept<T>;
  } catch (error) {
    if ((error as { readonly code?: unknown }).code === 'ENOENT') return undefined;
    throw error;
  }
}

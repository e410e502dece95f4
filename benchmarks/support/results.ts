import { mkdirSync, writeFileSync } from 'node:fs';

/** Where results are kept; not in the repository. */
const RESULTS = new URL('../results/', import.meta.url);

/** Keeps the result of one run as JSON; the latest of a kind replaces the one before. */
export function keepResult(kind: string, result: unknown): void {
  mkdirSync(RESULTS, { recursive: true });
  writeFileSync(new URL(`${kind}.json`, RESULTS), `${JSON.stringify(result, undefined, 2)}\n`);
}

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from '@jest/globals';

/**
 * Gives each spec of a file fresh directories, removed after the last: what a spec has started is ended after it, in an
 * order of its own, and may write in them until then.
 */
export function temporaryDirectories(): () => string {
  const made: string[] = [];
  afterAll(() => {
    for (const path of made.splice(0)) rmSync(path, { recursive: true, force: true });
  });
  return () => {
    const path = mkdtempSync(join(tmpdir(), 'troupe-spec-'));
    made.push(path);
    return path;
  };
}

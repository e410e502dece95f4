import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isError } from '../core/errors.ts';
import type { VerdictStore } from '../mcp/session/verdicts.ts';

/** A small file below `stateDir`, replaced whole: a reader never sees half of it. Readable by the owner only. */
export function stateFile(stateDir: string, name: string): VerdictStore {
  const path = join(stateDir, name);
  return {
    read() {
      try {
        return readFileSync(path, 'utf8');
      } catch (error) {
        if (isError(error) && (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
        throw error;
      }
    },
    write(text) {
      mkdirSync(stateDir, { recursive: true, mode: 0o700 });
      const partial = `${path}.${process.pid}.tmp`;
      writeFileSync(partial, text, { mode: 0o600 });
      renameSync(partial, path);
    },
  };
}

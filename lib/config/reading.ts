import { readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, resolve } from 'node:path';
import { expand, Unexpandable, type Scope } from './interpolate.ts';
import { invalid, type At, type Origin, OBJECT_ORIGIN } from './fields.ts';

/** Everything normalising needs to know beside the input itself. */
export interface Reading {
  readonly origin: Origin;
  /** `undefined`: nothing is expanded. */
  readonly scope: Scope | undefined;
  /** Relative `cwd`, `envFile` and PEM paths start here. */
  readonly base: string;
  /** Working directory of programs that name none. `undefined`: the host's own. */
  readonly cwd: string | undefined;
  /** Names of the strategies there are. `undefined`: not checked. */
  readonly strategies: readonly string[] | undefined;
  readonly warnings: string[];
}

/** How an object given to `createEngine` is read. */
export function readingOfObject(strategies: readonly string[] | undefined): Reading {
  return {
    origin: OBJECT_ORIGIN,
    scope: {
      env: process.env,
      inputs: new Map(),
      userHome: homedir(),
      workspaceFolder: process.cwd(),
      bare: 'upper-case',
    },
    base: process.cwd(),
    cwd: undefined,
    strategies,
    warnings: [],
  };
}

export function expanded(text: string, at: At, reading: Reading): string {
  if (reading.scope === undefined) return text;
  try {
    return expand(text, reading.scope);
  } catch (error) {
    if (error instanceof Unexpandable) throw invalid(at, error.message, error.remedy);
    throw error;
  }
}

export function absolute(path: string, reading: Reading): string {
  return isAbsolute(path) ? path : resolve(reading.base, path);
}

/** Files that a configuration names are small; what is larger is not what was meant. */
const MAX_FILE_BYTES = 1024 * 1024;

export function fileText(path: string, at: At): string {
  try {
    const stat = statSync(path);
    if (!stat.isFile()) throw invalid(at, `names ${path}, which is not a file`, 'name a file');
    if (stat.size > MAX_FILE_BYTES)
      throw invalid(at, `names ${path}, which is larger than 1 MiB`, 'name a smaller file');
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw unreadable(error, path, at);
  }
}

export function checkDirectory(path: string, at: At): void {
  try {
    if (statSync(path).isDirectory()) return;
  } catch (error) {
    throw unreadable(error, path, at);
  }
  throw invalid(at, `names ${path}, which is not a directory`, 'name a directory');
}

function unreadable(error: unknown, path: string, at: At): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'config_invalid') return error;
  const missing = code === 'ENOENT' || code === 'ENOTDIR';
  return invalid(
    at,
    `names ${path}, which ${missing ? 'does not exist' : `cannot be read (${code})`}`,
    'correct the path',
    error,
  );
}

import { readFile, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isTroupeError, TroupeError } from '../core/errors.ts';
import type { Config, EngineConfig } from './config.ts';
import { parseDocument } from './document.ts';
import { OBJECT_ORIGIN, type Origin, type Path } from './fields.ts';
import { answerInputs, type Inputs } from './inputs.ts';
import { isConfig, normaliseShape, onlyTroupeErrors } from './normalise.ts';
import type { Reading } from './reading.ts';
import { findServers, type ServerEntry, type Shape } from './shape.ts';

export interface LoadOptions {
  /** Answers `${NAME}` and `${env:NAME}`. Default: `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Answers `${input:id}`. */
  readonly inputs?: Inputs | undefined;
  /**
   * The workspace: `${workspaceFolder}`, the start of relative paths, and the working directory of programs that name
   * none. Default: the folder of the file (above `.vscode`, `.cursor` and the like) for the first two, the host's own
   * for programs.
   */
  readonly cwd?: string | undefined;
  /** Names of the strategies there are. Default: checked by `createEngine`. */
  readonly strategies?: readonly string[] | undefined;
}

/** A configuration is written by hand; what is larger is some other file. */
const MAX_FILE_BYTES = 16 * 1024 * 1024;

/**
 * Reads the configuration of any MCP host (`protocol` §6): a file with JSONC in it, or the same as an object. Rejects with
 * `config_invalid` naming file, line, server, field and remedy. Nothing is started, nothing is written.
 */
export async function loadConfig(
  pathOrObject: string | URL | EngineConfig | Config,
  options: LoadOptions = {},
): Promise<Config> {
  if (isConfig(pathOrObject)) return pathOrObject;
  if (pathOrObject instanceof URL) return loadFile(fileURLToPath(pathOrObject), options);
  return typeof pathOrObject === 'string'
    ? loadFile(pathOrObject, options)
    : loadObject(pathOrObject, options);
}

async function loadFile(path: string, options: LoadOptions): Promise<Config> {
  const text = await readText(path);
  const document = parseDocument(text, path);
  const shape = inDocumentOrder(findServers(document.value, document.origin), document.keysAt);
  return finish(shape, document.origin, options.cwd ?? workspaceOf(resolve(path)), options);
}

function loadObject(object: EngineConfig, options: LoadOptions): Promise<Config> {
  return finish(
    onlyTroupeErrors(() => findServers(object, OBJECT_ORIGIN)),
    OBJECT_ORIGIN,
    options.cwd ?? process.cwd(),
    options,
  );
}

async function finish(
  shape: Shape,
  origin: Origin,
  workspace: string,
  options: LoadOptions,
): Promise<Config> {
  const base = resolve(workspace);
  const inputs = await answerInputs(shape, options.inputs, origin);
  const reading: Reading = {
    origin,
    scope: {
      env: options.env ?? process.env,
      inputs,
      userHome: homedir(),
      workspaceFolder: base,
      bare: 'all',
    },
    base,
    cwd: options.cwd === undefined ? undefined : base,
    strategies: options.strategies,
    warnings: [],
  };
  return onlyTroupeErrors(() => normaliseShape(shape, reading));
}

/** Folders in which hosts keep the file of a workspace. */
const HOST_FOLDERS: ReadonlySet<string> = new Set([
  '.vscode',
  '.cursor',
  '.windsurf',
  '.gemini',
  '.claude',
  '.roo',
  '.mcp',
]);

function workspaceOf(path: string): string {
  const folder = dirname(path);
  return HOST_FOLDERS.has(basename(folder)) ? dirname(folder) : folder;
}

/** Names that look like numbers come first in a JavaScript object, whatever the text says. */
function inDocumentOrder(shape: Shape, keysAt: (path: Path) => readonly string[]): Shape {
  const byRoot = new Map<string, Map<string, ServerEntry>>();
  for (const entry of shape.entries) {
    const root = JSON.stringify(entry.path.slice(0, -1));
    const members = byRoot.get(root) ?? new Map<string, ServerEntry>();
    byRoot.set(root, members.set(entry.name, entry));
  }
  const entries = [...byRoot].flatMap(([root, members]) => {
    const order = keysAt(JSON.parse(root) as Path);
    // A list has no keys, and is in order as it is.
    return order.length === 0 ? [...members.values()] : order.flatMap((name) => members.get(name) ?? []);
  });
  return { ...shape, entries };
}

async function readText(path: string): Promise<string> {
  const fail = (problem: string, cause?: unknown): TroupeError =>
    new TroupeError('config_invalid', `the configuration ${path} ${problem}`, {
      data: { file: path },
      cause,
    });
  try {
    const { size } = await stat(path);
    if (size > MAX_FILE_BYTES) throw fail('is larger than 16 MiB; name a configuration file');
    const bytes = await readFile(path);
    if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)) {
      throw fail('is UTF-16; save it as UTF-8');
    }
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    if (isTroupeError(error)) throw error;
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') throw fail('does not exist; correct the path', error);
    if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') throw fail('is not UTF-8; save it as UTF-8', error);
    throw fail(`cannot be read (${code ?? 'unknown reason'}); correct the path or its permissions`, error);
  }
}

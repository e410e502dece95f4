import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { createClock } from '../core/clock.ts';
import type { Clock } from '../core/clock.ts';
import { TroupeError, errorText, isTroupeError } from '../core/errors.ts';
import { isJson } from '../core/json-rpc.ts';
import { readIfThere, replaceFile } from './atomic-file.ts';
import { acquireFileLock } from './file-lock.ts';
import type { FileLock } from './file-lock.ts';
import { checkOf, isCheckOf, vaultKey } from './vault-key.ts';
import type { VaultKeySource } from './vault-key.ts';

export interface VaultOptions {
  /** The file; its directory exists. Beside it stands `<path>.lock` while something is being written. */
  readonly path: string;
  readonly key: VaultKeySource;
  /** Default `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly clock?: Pick<Clock, 'after' | 'now'>;
}

/**
 * Secrets of servers at rest: AES-256-GCM, a fresh nonce for each write, bound to server and field, so that an entry moved
 * elsewhere does not open. Names of servers and fields are readable. Several engines may share a file.
 */
export interface Vault {
  /** `undefined` where nothing is kept. Throws `config_invalid` with `data.reason` `no_key`, `wrong_key` or `damaged`. */
  get(server: string, field: string): Promise<string | undefined>;
  set(server: string, field: string, secret: string): Promise<void>;
  /** All fields of the server, or one. */
  delete(server: string, field?: string): Promise<void>;
  fields(server: string): Promise<readonly string[]>;
}

interface Entry {
  readonly server: string;
  readonly field: string;
  readonly nonce: string;
  readonly data: string;
  readonly tag: string;
}

interface Content {
  readonly check: string | undefined;
  readonly entries: readonly Entry[];
}

const VERSION = 1;
const CIPHER = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** How long a writer waits for another one, and how often it looks. */
const LOCK_WAIT_MS = 2000;
const LOCK_POLL_MS = 20;

export function createVault(options: VaultOptions): Vault {
  const { path } = options;
  const clock = options.clock ?? createClock();
  const env = options.env ?? process.env;
  let known: Promise<KeyObject> | undefined;
  let writing: Promise<unknown> = Promise.resolve();

  /** Fetched at the first use, and again after a failure. */
  const keyOnce = (): Promise<KeyObject> => {
    known ??= vaultKey(options.key, env).catch((error: unknown) => {
      known = undefined;
      throw error;
    });
    return known;
  };

  const write = (change: (key: KeyObject, entries: readonly Entry[]) => readonly Entry[]): Promise<void> => {
    const once = async (): Promise<void> => {
      const key = await keyOnce();
      const lock = await lockOf(path, clock);
      try {
        const content = readContent(path);
        checkKey(path, content, key);
        save(path, { check: checkOf(key), entries: change(key, content.entries) });
      } finally {
        lock.release();
      }
    };
    const done = writing.then(once);
    writing = done.catch(() => {});
    return done;
  };

  return {
    async get(server, field) {
      const key = await keyOnce();
      const content = readContent(path);
      checkKey(path, content, key);
      const entry = content.entries.find((e) => e.server === server && e.field === field);
      return entry === undefined ? undefined : opened(path, entry, key);
    },
    set: (server, field, secret) =>
      write((key, entries) => [
        ...entries.filter((e) => e.server !== server || e.field !== field),
        sealed(server, field, secret, key),
      ]),
    delete: (server, field) =>
      write((_key, entries) =>
        entries.filter((e) => e.server !== server || (field !== undefined && e.field !== field)),
      ),
    async fields(server) {
      return readContent(path)
        .entries.filter((entry) => entry.server === server)
        .map((entry) => entry.field);
    },
  };
}

function sealed(server: string, field: string, secret: string, key: KeyObject): Entry {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(boundTo(server, field));
  const data = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()]);
  return {
    server,
    field,
    nonce: nonce.toString('base64'),
    data: data.toString('base64'),
    tag: cipher.getAuthTag().toString('base64'),
  };
}

function opened(path: string, entry: Entry, key: KeyObject): string {
  try {
    const decipher = createDecipheriv(CIPHER, key, Buffer.from(entry.nonce, 'base64'), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(boundTo(entry.server, entry.field));
    decipher.setAuthTag(Buffer.from(entry.tag, 'base64'));
    return Buffer.concat([decipher.update(Buffer.from(entry.data, 'base64')), decipher.final()]).toString(
      'utf8',
    );
  } catch (error) {
    throw broken(
      path,
      'damaged',
      `the entry "${entry.field}" was changed; delete it and store it again`,
      error,
      entry.server,
    );
  }
}

/** `version|server|field`; encoded, so that a `|` in a name cannot make two of them equal. */
function boundTo(server: string, field: string): Buffer {
  return Buffer.from(
    [VERSION, ...[server, field].map((name) => encodeURIComponent(wellFormed(name)))].join('|'),
    'utf8',
  );
}

function wellFormed(name: string): string {
  return Buffer.from(name, 'utf8').toString('utf8');
}

function readContent(path: string): Content {
  let text: string | undefined;
  try {
    text = readIfThere(path);
  } catch (error) {
    throw broken(path, 'damaged', `it cannot be read: ${errorText(error)}`, error);
  }
  if (text === undefined) return { check: undefined, entries: [] };
  try {
    const document: unknown = JSON.parse(text);
    if (!isJson(document) || document['version'] !== VERSION || typeof document['check'] !== 'string') {
      throw new SyntaxError('this is no vault');
    }
    const entries: unknown = document['entries'];
    if (!Array.isArray(entries) || !(entries as unknown[]).every(isEntry))
      throw new SyntaxError('an entry is incomplete');
    return { check: document['check'], entries: entries as Entry[] };
  } catch (error) {
    throw broken(path, 'damaged', `${errorText(error)}; move it away and store the secrets again`, error);
  }
}

function isEntry(value: unknown): value is Entry {
  return (
    isJson(value) &&
    ['server', 'field', 'nonce', 'data', 'tag'].every((name) => typeof value[name] === 'string')
  );
}

function checkKey(path: string, content: Content, key: KeyObject): void {
  if (content.check === undefined || isCheckOf(content.check, key)) return;
  throw broken(path, 'wrong_key', 'it was written with another key; give that one, or move the file away');
}

function save(path: string, content: Content): void {
  try {
    replaceFile(path, `${JSON.stringify({ version: VERSION, ...content }, null, 1)}\n`);
  } catch (error) {
    throw new TroupeError('internal', `the vault "${path}" cannot be written: ${errorText(error)}`, {
      cause: error,
    });
  }
}

/** Another writer holds the lock for milliseconds only. */
async function lockOf(path: string, clock: Pick<Clock, 'after' | 'now'>): Promise<FileLock> {
  const until = clock.now() + LOCK_WAIT_MS;
  for (;;) {
    try {
      return acquireFileLock(`${path}.lock`);
    } catch (error) {
      const reason = isTroupeError(error)
        ? (error.data as { reason?: unknown } | undefined)?.reason
        : undefined;
      if (reason !== 'locked' || clock.now() >= until) throw error;
    }
    await new Promise<void>((resolve) => {
      clock.after(LOCK_POLL_MS, resolve);
    });
  }
}

function broken(
  path: string,
  reason: string,
  problem: string,
  cause?: unknown,
  server?: string,
): TroupeError {
  return new TroupeError('config_invalid', `vault "${path}": ${problem}`, {
    server,
    data: { field: 'vault', reason },
    cause,
  });
}

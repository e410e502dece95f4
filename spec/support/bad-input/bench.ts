import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, jest } from '@jest/globals';
import { isTroupeError, type TroupeError } from '../../../lib/core/errors.ts';
import { createEngine } from '../../../lib/engine/engine.ts';
import type { Engine } from '../../../lib/engine/contract.ts';
import { REDACTED } from '../../../lib/security/redaction.ts';
import { createAuthorizationWorld, type AuthorizationWorld } from '../authorization-world.ts';
import { badServers } from '../bad-http.ts';
import { until } from '../engines.ts';
import { CLIENT_KEY } from '../http-certificates.ts';
import { temporaryDirectories } from '../temp-dir.ts';
import type { BadInput, Bench, Secrets } from './case.ts';

/** Each of its own, none a part of another, and of a shape that nobody writes by chance. */
export const SECRETS: Secrets = {
  bearer: 'canary-bearer-0e7f1a52c4d9',
  dynamic: 'canary-dynamic-1d8e2b63d5ea',
  given: 'canary-given-2c9f3c74e6fb',
  header: 'canary-header-3ba04d85f7ac',
  env: 'canary-env-4ab15e96a8bd',
  argument: 'canary-argument-59c26fa7b9ce',
  query: 'canary-query-68d370b8cadf',
  userinfo: 'canary-userinfo-77e481c9dbe0',
  client: 'canary-client-86f592daec01',
  passphrase: 'canary-passphrase-95a6a3ebfd12',
  key: CLIENT_KEY,
  code: 'canary-code-a4b7b4fc0e23',
};

/** The forms in which a secret would still be one. */
export function encodings(secret: string): readonly string[] {
  const bytes = Buffer.from(secret);
  const plain = [secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret)];
  const base64 = [0, 1, 2].map((offset) => {
    const text = Buffer.concat([Buffer.alloc(offset), bytes])
      .toString('base64')
      .replaceAll('=', '');
    return text.slice(4, -2);
  });
  return [...plain, ...base64, ...base64.map((text) => text.replaceAll('+', '-').replaceAll('/', '_'))];
}

/** All that an error shows, in every way in which a host may look at it. */
function shown(value: unknown, depth = 0): string {
  const texts = [inspect(value, { depth: 12, showHidden: true, maxStringLength: null }), String(value)];
  try {
    texts.push(JSON.stringify(value) ?? '');
  } catch {
    // A cycle: `inspect` has shown it.
  }
  if (typeof value === 'object' && value !== null && depth < 8) {
    const { stack, message, cause } = value as { stack?: unknown; message?: unknown; cause?: unknown };
    texts.push(String(stack), String(message));
    if (cause !== undefined) texts.push(shown(cause, depth + 1));
  }
  return texts.join('\n');
}

/** Collects what leaves the engines that it makes. */
export interface Sinks {
  engine: Bench['engine'];
  /** Something that a host has got. */
  note(what: string, value: unknown): void;
  /** Where one of the secrets stands, by name of the sink. */
  leaks(secrets: Readonly<Record<string, string>>): readonly string[];
  /** In how many places something was taken out. */
  marks(): number;
  stop(): Promise<void>;
  readonly directories: string[];
}

export function createSinks(): Sinks {
  const engines: Engine[] = [];
  const sinks: Array<readonly [string, string]> = [];
  const directories: string[] = [];
  const note = (what: string, value: unknown): void => void sinks.push([what, shown(value)]);
  const state = (engine: Engine): void => {
    note('fleet', engine.fleet);
    note('inspect()', engine.inspect());
    note('the engine itself', engine);
  };
  return {
    directories,
    note,
    engine(config) {
      const log =
        (level: string) =>
        (message: string, fields?: unknown): void =>
          note(`log ${level}`, { message, fields });
      const engine = createEngine({
        logger: { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') },
        ...config,
      });
      engines.push(engine);
      engine.on('*', (event) => note(`event ${event.type}`, event));
      engine.fleet$.subscribe((fleet) => note('fleet$', fleet));
      return engine;
    },
    async stop() {
      for (const engine of engines) state(engine);
      await Promise.all(engines.splice(0).map((engine) => engine.stop({ graceMs: 0 })));
      for (const directory of directories)
        for (const path of filesBelow(directory)) note(`file ${path}`, readFileSync(path, 'latin1'));
    },
    marks: () => sinks.filter(([, text]) => text.includes(REDACTED)).length,
    leaks: (secrets) =>
      Object.entries(secrets).flatMap(([name, secret]) => {
        const forms = encodings(secret);
        return sinks.flatMap(([what, text]) =>
          forms.some((form) => text.includes(form)) ? [`${name} in ${what}`] : [],
        );
      }),
  };
}

function filesBelow(directory: string): readonly string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .map((name) => join(directory, name))
    .filter((path) => statSync(path).isFile() && !path.endsWith('mcp.json'));
}

/** Kinds of what may be left open, of Node's own names. */
const KINDS = new Set(['ProcessWrap', 'PipeWrap', 'TCPSocketWrap', 'TLSWrap', 'TCPServerWrap']);
const open = (): string[] => process.getActiveResourcesInfo().filter((kind) => KINDS.has(kind));

export function badInputBench(): {
  errorOf(given: BadInput): Promise<TroupeError>;
  /** What is open now and was not before the case, once it has had time to go. */
  leftOpen(): Promise<readonly string[]>;
  leaks(): readonly string[];
} {
  const directory = temporaryDirectories();
  const servers = badServers();
  const worlds: AuthorizationWorld[] = [];
  let sinks = createSinks();
  let before: string[] = [];
  beforeEach(() => {
    // The SDK tells there why it asks again.
    jest.spyOn(console, 'warn').mockImplementation((...args) => sinks.note('console', args));
    sinks = createSinks();
    before = open();
  });
  afterEach(() => sinks.stop());

  const bench: Bench = {
    engine: (config) => sinks.engine(config),
    directory() {
      const made = directory();
      sinks.directories.push(made);
      return made;
    },
    http: servers.http,
    async world() {
      const world = await createAuthorizationWorld();
      worlds.push(world);
      return world;
    },
    secrets: SECRETS,
  };

  return {
    async errorOf(given) {
      let error: unknown;
      try {
        error = await given.run(bench);
      } catch (thrown) {
        error = thrown;
      }
      if (!isTroupeError(error)) throw new Error(`no error of ours: ${inspect(error).slice(0, 500)}`);
      sinks.note('the error', error);
      return error;
    },
    async leftOpen() {
      await sinks.stop();
      await Promise.all(worlds.splice(0).map((world) => world.close()));
      servers.close();
      const more = (): string[] => {
        const now = open();
        for (const kind of before) {
          const at = now.indexOf(kind);
          if (at >= 0) now.splice(at, 1);
        }
        return now;
      };
      await until(() => more().length === 0, 'everything to close').catch(() => {});
      return more();
    },
    leaks: () => sinks.leaks(SECRETS as unknown as Record<string, string>),
  };
}

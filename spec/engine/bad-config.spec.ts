import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, jest } from '@jest/globals';
import type { EngineConfig } from '../../lib/config/config.ts';
import { loadConfig } from '../../lib/config/load.ts';
import type { TroupeError } from '../../lib/core/errors.ts';
import { createEngine } from '../../lib/engine/engine.ts';
import { engines, failureOf, hostHearsNothing, stdio, textOf } from '../support/engines.ts';
import { temporaryDirectories } from '../support/temp-dir.ts';

jest.setTimeout(30_000);
hostHearsNothing();
const engine = engines();
const directory = temporaryDirectories();

const file = (text: string): string => {
  const path = join(directory(), 'mcp.json');
  writeFileSync(path, text);
  return path;
};
/** From the file to an engine, as a host does it. */
const open = async (path: string): Promise<unknown> => createEngine(await loadConfig(path));

interface Case {
  readonly servers: Readonly<Record<string, unknown>>;
  readonly server?: string;
  /** What the message names. */
  readonly says: readonly RegExp[];
  readonly judged?: 'by the engine';
}

const CASES: Readonly<Record<string, Case>> = {
  'a command and a url at once': {
    servers: { both: { command: 'node', url: 'http://127.0.0.1:1/mcp' } },
    server: 'both',
    says: [/command/, /url/],
  },
  'neither of them': { servers: { none: { args: ['x'] } }, server: 'none', says: [/command/, /url/] },
  'a working directory that is missing': {
    servers: { lost: { command: 'node', cwd: '/no/such/directory' } },
    server: 'lost',
    says: [/cwd/, /\/no\/such\/directory/],
  },
  'a working directory that is a file': {
    servers: { lost: { command: 'node', cwd: process.execPath } },
    server: 'lost',
    says: [/cwd/, /not a directory/],
  },
  'a file of variables that is missing': {
    servers: { lost: { command: 'node', envFile: '/no/such/.env' } },
    server: 'lost',
    says: [/envFile/, /\/no\/such\/\.env/],
  },
  'a line break in a header': {
    servers: {
      smuggler: { url: 'http://127.0.0.1:1/mcp', headers: { 'x-note': 'a\r\nauthorization: Bearer stolen' } },
    },
    server: 'smuggler',
    says: [/headers/, /x-note/],
  },
  'no replicas': { servers: { empty: { replicas: [] } }, server: 'empty', says: [/replicas/] },
  'a time that no timer can hold': {
    servers: { s: { command: 'node', timeoutMs: 2 ** 31 } },
    server: 's',
    says: [/timeoutMs/, /2147483647/],
  },
  'an era that does not exist': {
    servers: { s: { command: 'node', era: 'future' } },
    server: 's',
    says: [/era/, /legacy/],
  },
  'a strategy that does not exist': {
    servers: { s: { command: 'node', routing: { strategy: 'best' } } },
    server: 's',
    says: [/strategy/, /round-robin/],
    // Strategies are the engine's: it knows no file.
    judged: 'by the engine',
  },
  'plain http beyond this machine': {
    servers: { s: { url: 'http://mcp.example/mcp' } },
    server: 's',
    says: [/allowInsecure|https/],
  },
};

const expectRefusal = (error: TroupeError, { server, says }: Case): void => {
  expect(error).toMatchObject({ code: 'config_invalid', delivery: 'unsent', server });
  for (const word of says) expect(error.message).toMatch(word);
  expect(error.message).not.toContain('Bearer stolen');
};

describe('a bad configuration', () => {
  it.each(Object.entries(CASES))('has %s: the engine is not made', async (_, given) => {
    expectRefusal(
      await failureOf((async () => createEngine({ servers: given.servers } as EngineConfig))()),
      given,
    );
  });

  it.each(Object.entries(CASES))('has %s, in a file that is named', async (_, given) => {
    const path = file(JSON.stringify({ mcpServers: given.servers }, undefined, 2));
    const error = await failureOf(open(path));
    expectRefusal(error, given);
    expect(error.message.includes(path)).toBe(given.judged === undefined);
  });

  it('has the same key twice', async () => {
    const path = file(
      '{\n  "mcpServers": {\n    "a": { "command": "node" },\n    "a": { "command": "bun" }\n  }\n}',
    );
    const error = await failureOf(open(path));
    expect(error.code).toBe('config_invalid');
    expect(error.message).toMatch(/"?a"?/);
    expect(error.message).toContain(path);
    expect(error.message).toMatch(/line 4|twice|duplicate/);
  });

  it.each([
    ['is missing', undefined, /no such file|does not exist|ENOENT|cannot be read/],
    ['is cut off', '{ "mcpServers": { "a": ', /line 1/],
    ['is a list', '[]', /is a list/],
    ['is empty', '', /empty|line 1|object/],
  ])('%s', async (_, text, says) => {
    const path = text === undefined ? join(directory(), 'missing.json') : file(text);
    const error = await failureOf(open(path));
    expect(error.code).toBe('config_invalid');
    expect(error.message).toContain(path);
    expect(error.message).toMatch(says);
  });

  it('leaves a running engine as it is', async () => {
    const troupe = engine({ servers: { good: stdio('good') } });
    await troupe.start();
    const pid = troupe.connection('good').process?.pid;
    for (const { servers } of Object.values(CASES)) {
      const error = await failureOf((async () => troupe.reconfigure({ servers } as EngineConfig))());
      expect(error.code).toBe('config_invalid');
    }
    expect(troupe.connection('good').process?.pid).toBe(pid);
    expect(await textOf(troupe.callTool('good__echo', { message: 'hi' }))).toBe('hi');
  });
});

describe('a configuration that only looks bad', () => {
  it('may begin with a byte-order mark, have comments and trailing commas', async () => {
    const { command, args } = stdio('good') as { command: string; args: readonly string[] };
    const path = file(
      `\uFEFF// written by a person\n{\n  "mcpServers": {\n    "good": { "command": ${JSON.stringify(command)}, "args": ${JSON.stringify(args)}, }, /* the only one */\n  },\n}\n`,
    );
    const troupe = engine(await loadConfig(path));
    await troupe.start();
    expect(await textOf(troupe.callTool('good__echo', { message: 'hi' }))).toBe('hi');
  });

  it('may name a file of variables that begins with one', async () => {
    const path = join(directory(), 'spec.env');
    writeFileSync(path, '\uFEFFSPEC_REVISION=2025-03-26\n');
    const troupe = engine({ servers: { good: { ...stdio('good'), envFile: path } } });
    await troupe.start();
    expect(troupe.fleet.connections[0]).toMatchObject({ state: 'Connected', protocolVersion: '2025-03-26' });
  });

  it('may name servers like parts of every object', async () => {
    const names = ['constructor', 'toString', 'hasOwnProperty'];
    const troupe = engine({ servers: Object.fromEntries(names.map((name) => [name, stdio('good')])) });
    await troupe.start();
    for (const name of names) {
      expect(troupe.connection(name).state).toBe('Connected');
      expect(await textOf(troupe.callTool(`${name}__echo`, { message: name }))).toBe(name);
    }
  });
});

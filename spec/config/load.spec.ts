import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it } from '@jest/globals';
import type { Config, EngineConfig, HttpPlace, StdioPlace } from '../../lib/config/config.ts';
import { loadConfig, type LoadOptions } from '../../lib/config/load.ts';
import { isConfig, normalise } from '../../lib/config/normalise.ts';
import { isTroupeError, type TroupeError } from '../../lib/core/errors.ts';
import { expectDeepFrozen, invalidAt } from '../support/config-expectations.ts';

const folder = mkdtempSync(join(tmpdir(), 'troupe-load-'));
afterAll(() => rmSync(folder, { recursive: true }));

let files = 0;
function fileOf(text: string | Uint8Array, name = `mcp-${files++}.json`): string {
  const path = join(folder, name);
  mkdirSync(resolve(path, '..'), { recursive: true });
  writeFileSync(path, text);
  return path;
}

const load = (text: string, options?: LoadOptions): Promise<Config> => loadConfig(fileOf(text), options);

async function rejection(promise: Promise<unknown>): Promise<TroupeError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!isTroupeError(error)) throw new Error('it did not reject with an error of ours', { cause: error });
  return error;
}

const place = (config: Config, i = 0): unknown => config.servers[i]?.replicas[0]?.where;
const stdio = (config: Config, i = 0): StdioPlace => place(config, i) as StdioPlace;
const http = (config: Config, i = 0): HttpPlace => place(config, i) as HttpPlace;

describe('files of other hosts', () => {
  it('Claude Desktop', async () => {
    const config = await load(`{ "mcpServers": { "filesystem": {
      "command": "npx", "args": ["-y", "@modelcontextprotocol/server-filesystem", "/tmp"], "env": { "A": "1" } } } }`);
    expect(stdio(config)).toMatchObject({
      command: 'npx',
      args: ['-y', '@modelcontextprotocol/server-filesystem', '/tmp'],
    });
    expectDeepFrozen(config);
    expect(isConfig(config)).toBe(true);
  });

  it('VS Code mcp.json, with inputs, comments and trailing commas', async () => {
    const path = fileOf(
      `\uFEFF{
      // asked once
      "inputs": [{ "type": "promptString", "id": "key", "description": "Key", "password": true }],
      "servers": {
        "github": { "type": "http", "url": "https://h/mcp", "headers": { "Authorization": "Bearer \${input:key}" } },
        "local": { "type": "stdio", "command": "\${workspaceFolder}/bin/x", "args": ["\${workspaceFolderBasename}"], "dev": { "watch": "x" } },
      },
    }`,
      'project/.vscode/mcp.json',
    );
    const config = await loadConfig(path, { inputs: { key: 'k' } });
    expect(http(config).headers['authorization']).toBe('Bearer k');
    expect(http(config).flavour).toBe('streamable-http');
    expect(stdio(config, 1)).toMatchObject({ command: join(folder, 'project/bin/x'), args: ['project'] });
    expect(config.servers[1]?.extensions).toEqual({ dev: { watch: 'x' } });
    expect((await rejection(loadConfig(path))).message).toBe(
      `[config_invalid] github: headers.Authorization asks for the input "key", which has no answer; answer it: loadConfig(…, { inputs: { "key": … } }) (${path}, line 5)`,
    );
  });

  it('VS Code settings.json', async () => {
    const config = await load(
      '{ "editor.fontSize": 3, "limits": "none of ours", "mcp": { "servers": { "a": { "command": "x" } } } }',
    );
    expect(config.servers.map((s) => s.name)).toEqual(['a']);
  });

  it('Cursor', async () => {
    const config = await load(
      `{ "mcpServers": {
        "a": { "command": "\${userHome}\${/}x", "args": ["\${pathSeparator}"], "env": { "K": "\${env:KEY}" } },
        "b": { "url": "https://\${env:HOST}/mcp", "headers": { "x": "\${env:KEY}" }, "auth": { "CLIENT_ID": "\${env:KEY}" } } } }`,
      { env: { KEY: 'k', HOST: 'h' } },
    );
    expect(stdio(config)).toMatchObject({ command: join(homedir(), 'x'), env: { K: 'k' } });
    expect([http(config, 1).url.href, { ...http(config, 1).headers }]).toEqual(['https://h/mcp', { x: 'k' }]);
    expect(config.servers[1]?.auth).toMatchObject({ kind: 'oauth', clientId: 'k' });
  });

  it('Claude Code', async () => {
    const config = await load(
      `{ "mcpServers": {
        "a": { "command": "\${BIN:-node}", "args": ["\${KEY}", "\${MISSING:-}"] },
        "b": { "type": "http", "url": "\${BASE:-https://h}/mcp", "oauth": { "clientId": "c" } },
        "c": { "type": "sse", "url": "https://h/sse" },
        "d": { "type": "ws", "url": "wss://h/ws" } } }`,
      { env: { KEY: 'k' } },
    );
    expect(stdio(config)).toMatchObject({ command: 'node', args: ['k', ''] });
    expect(http(config, 1).url.href).toBe('https://h/mcp');
    expect(config.servers[1]?.auth).toMatchObject({ kind: 'oauth', clientId: 'c' });
    expect([http(config, 2).flavour, place(config, 3)]).toEqual([
      'sse',
      expect.objectContaining({ kind: 'websocket' }),
    ]);
  });

  it('Cline, Windsurf, Gemini CLI, Copilot', async () => {
    const config = await load(`{ "mcpServers": {
      "cline": { "command": "x", "disabled": false, "autoApprove": ["a"], "timeout": 60 },
      "off": { "command": "", "disabled": true },
      "windsurf": { "serverUrl": "https://w/mcp" },
      "gemini": { "httpUrl": "https://g/mcp", "trust": true, "includeTools": ["a"], "excludeTools": ["b"] },
      "copilot": { "type": "local", "command": "x", "tools": ["*"] } } }`);
    expect(config.servers.map((s) => s.name)).toEqual(['cline', 'windsurf', 'gemini', 'copilot']);
    expect(config.servers[0]?.extensions).toEqual({ autoApprove: ['a'], timeout: 60 });
    expect(config.warnings).toEqual([expect.stringContaining('write timeoutMs')]);
    expect(http(config, 2).url.href).toBe('https://g/mcp');
    expect(config.servers[2]).toMatchObject({ trusted: false, tools: { include: ['a'], exclude: ['b'] } });
    expect(config.servers[3]?.tools.include).toBeUndefined();
  });

  it('opencode', async () => {
    const config = await load(`{ "$schema": "x", "model": "m", "mcp": {
      "a": { "type": "local", "command": ["npx", "-y", "x"], "environment": { "A": "1" }, "enabled": true },
      "b": { "type": "remote", "url": "https://h/mcp" }, "c": { "type": "remote", "url": "https://h", "enabled": false } } }`);
    expect(stdio(config)).toMatchObject({ command: 'npx', args: ['-y', 'x'], env: { A: '1' } });
    expect([config.servers.length, http(config, 1).flavour]).toEqual([2, 'auto']);
  });

  it('a bare map, and our own options beside the servers', async () => {
    expect(
      (await load('{ "b": { "command": "x" }, "a": { "url": "https://h" } }')).servers.map((s) => s.name),
    ).toEqual(['b', 'a']);
    const config = await load(
      '{ "servers": { "a": { "command": "x" } }, "naming": "transparent", "stateDir": "state", "timeoutMs": 5 }',
    );
    expect(config).toMatchObject({
      naming: 'transparent',
      stateDir: join(folder, 'state'),
      servers: [{ timeoutMs: 5 }],
    });
  });
});

describe('loadConfig', () => {
  it('keeps the order of the text, for names that are numbers too', async () => {
    const config = await load(
      '{"mcpServers":{"b":{"command":"x"},"10":{"command":"x"},"2":{"command":"x"}},"servers":{"1":{"command":"x"}}}',
    );
    expect(config.servers.map((s) => s.name)).toEqual(['1', 'b', '10', '2']);
  });

  it('carries servers called __proto__ and constructor', async () => {
    const config = await load('{"mcpServers":{"__proto__":{"command":"x"},"constructor":{"command":"x"}}}');
    expect(config.servers.map((s) => s.name)).toEqual(['__proto__', 'constructor']);
    expect(({} as { command?: string }).command).toBeUndefined();
  });

  it('takes a path, a file URL, an object, and what it returned before', async () => {
    const path = fileOf('{"mcpServers":{"a":{"command":"x"}}}');
    for (const source of [path, relative(process.cwd(), path), pathToFileURL(path)]) {
      expect((await loadConfig(source)).servers).toHaveLength(1);
    }
    const config = await loadConfig({ servers: { a: { command: '${x:-y}' } } });
    expect(stdio(config).command).toBe('y');
    expect(await loadConfig(config)).toBe(config);
    expect(normalise(config)).toBe(config);
    // Expanded once: what a variable held is not read again.
    const literal = await loadConfig({ servers: { a: { command: '${A}' } } }, { env: { A: '${B}' } });
    expect(stdio(normalise({ ...literal })).command).toBe('${B}');
  });

  it('starts relative paths at the folder of the file, or at cwd', async () => {
    mkdirSync(join(folder, 'sub'), { recursive: true });
    writeFileSync(join(folder, 'sub', '.env'), 'A=1');
    const text = '{"servers":{"a":{"command":"x","cwd":"sub","envFile":"sub/.env"},"b":{"command":"x"}}}';
    const config = await load(text);
    expect(stdio(config)).toMatchObject({ cwd: join(folder, 'sub'), env: { A: '1' } });
    expect(stdio(config, 1).cwd).toBeUndefined();
    const elsewhere = await load('{"servers":{"a":{"command":"x","args":["${workspaceFolder}"]}}}', {
      cwd: tmpdir(),
    });
    expect(stdio(elsewhere)).toMatchObject({ cwd: resolve(tmpdir()), args: [resolve(tmpdir())] });
  });

  it.each([
    ['{"mcpServers":{"a":{"command":"x","cwd":"none"}}}', 'cwd', /does not exist/],
    ['{"mcpServers":{"a":{"command":"x","envFile":"none.env"}}}', 'envFile', /does not exist/],
    ['{"mcpServers":{"a":{"command":"x","env":{"A":"${env:NONE}"}}}}', 'env.A', /NONE, which is not set/],
    ['{"mcpServers":{"a":{"command":"x","args":["${none}"]}}}', 'args[0]', /none, which is not set/],
    ['{"mcpServers":{"a":{"url":"https://h","headers":{"a":"${NONE}"}}}}', 'headers.a', /not set/],
    ['{"mcpServers":{"a":{"url":"https://${NONE}"}}}', 'url', /not set/],
    ['{"mcpServers":{"a":{"command":"x","cwd":"${NONE}"}}}', 'cwd', /not set/],
    ['{"mcpServers":{"a":{"command":"x","envFile":"${NONE}"}}}', 'envFile', /not set/],
    ['{"mcpServers":{"a":{"command":"x","timeoutMs":1e99}}}', 'timeoutMs', /2147483647/],
    ['{"mcpServers":{"a":{"command":"x","url":"https://h"}}}', 'url', /stands beside command/],
    ['{"mcpServers":{"a":{"replicas":[]}}}', 'replicas', /empty/],
    ['{"mcpServers":{"a":{"command":"x","equivalentTo":"b"}}}', 'equivalentTo', /no server/],
  ])('refuses %s at %s, naming file, line and server', async (text, field, problem) => {
    const path = fileOf(text.replace('{"a":', '{\n"a":'));
    const error = await rejection(loadConfig(path, { env: {} }));
    expect(error).toEqual(invalidAt(field, problem));
    expect([error.server, error.data]).toEqual(['a', { field, file: path, line: 2 }]);
    expect(error.message).toContain(`(${path}, line 2)`);
  });

  it.each([
    [
      'a key that is given twice',
      '{"mcpServers":{"a":{"command":"x"},\n"a":{"command":"y"}}}',
      /"a" is given twice.*line 2/,
    ],
    ['broken JSON', '{"mcpServers":', /not JSON/],
    ['nothing', '', /empty/],
    ['a file without servers', '{"name":"x"}', /no servers are found/],
    ['UTF-16', Buffer.from('\uFEFF{}', 'utf16le'), /UTF-16; save it as UTF-8/],
    ['bytes that are no text', Buffer.from([0x7b, 0xff, 0x7d]), /not UTF-8/],
  ])('refuses %s', async (_, content, problem) => {
    const path = fileOf(content);
    const error = await rejection(loadConfig(path));
    expect([error.code, error.message]).toEqual(['config_invalid', expect.stringMatching(problem)]);
    expect(error.message).toContain(path);
  });

  it('refuses what is missing, a directory and a giant', async () => {
    const giant = fileOf('');
    truncateSync(giant, 17 * 1024 * 1024);
    expect((await rejection(loadConfig(join(folder, 'none.json')))).message).toMatch(
      /none\.json does not exist/,
    );
    expect((await rejection(loadConfig(folder))).message).toMatch(/cannot be read \(EISDIR\)/);
    expect((await rejection(loadConfig(giant))).message).toMatch(/larger than 16 MiB/);
    expect((await rejection(loadConfig(null as unknown as EngineConfig))).code).toBe('config_invalid');
  });

  it('shows no secret in an error', async () => {
    const secret = 'hunter2\n';
    const text = '{"mcpServers":{"a":{"url":"https://h","headers":{"authorization":"${KEY}"}}}}';
    const error = await rejection(load(text, { env: { KEY: secret } }));
    expect(error).toEqual(invalidAt('headers.authorization', /line break/));
    expect(`${error.stack}${JSON.stringify(error)}${String(error.cause)}`).not.toContain('hunter2');
  });

  it('checks strategies where it is told them', async () => {
    const text = '{"mcpServers":{"a":{"command":"x","routing":"p3c"}}}';
    expect((await load(text)).servers[0]?.routing.strategy).toBe('p3c');
    expect(await rejection(load(text, { strategies: ['p2c'] }))).toEqual(
      invalidAt('routing.strategy', /p2c/),
    );
  });
});

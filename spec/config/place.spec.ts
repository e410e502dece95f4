import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from '@jest/globals';
import type { HttpPlace, StdioPlace } from '../../lib/config/config.ts';
import { isLoopback, looksLikeServer } from '../../lib/config/place.ts';
import { invalidAt, resolved, serverRefusal, withWarnings } from '../support/config-expectations.ts';

const where = (server: unknown): unknown => resolved(server).replicas[0]?.where;
const stdio = (server: unknown): StdioPlace => where(server) as StdioPlace;
const http = (server: unknown): HttpPlace => where(server) as HttpPlace;

describe('a program', () => {
  it('is a command with arguments, numbers among them', () => {
    expect(stdio({ command: 'node', args: ['a.js', '--port', 8080, true] })).toMatchObject({
      kind: 'stdio',
      command: 'node',
      args: ['a.js', '--port', '8080', 'true'],
      cwd: undefined,
      inheritEnv: 'safe',
    });
  });

  it('may be written as one list (opencode)', () => {
    const place = stdio({ type: 'local', command: ['npx', '-y', 'x'], environment: { A: '1' } });
    expect([place.command, place.args, { ...place.env }]).toEqual(['npx', ['-y', 'x'], { A: '1' }]);
  });

  it('keeps shell characters as they are', () => {
    expect(stdio({ command: 'x', args: ['; rm -rf /', '$(id)', '`id`', '|'] }).args).toEqual([
      '; rm -rf /',
      '$(id)',
      '`id`',
      '|',
    ]);
  });

  it('has variables; null stays to take an inherited one away', () => {
    const env = stdio({ command: 'x', env: { A: 'a', N: 1, B: false, GONE: null, SKIP: undefined } }).env;
    expect({ ...env }).toEqual({ A: 'a', N: '1', B: 'false', GONE: null });
  });

  it.each([
    [true, 'all'],
    [false, 'safe'],
    ['all', 'all'],
    [['LANG'], ['LANG']],
  ])('inherits %j as %j', (inheritEnv, result) => {
    expect(stdio({ command: 'x', inheritEnv }).inheritEnv).toEqual(result);
  });

  it.each([
    [{ command: '' }, 'command', /empty/],
    [{ command: '  ' }, 'command', /empty/],
    [{ command: [] }, 'command', /empty/],
    [{ command: 3 }, 'command', /is 3/],
    [{ command: 'a\0b' }, 'command', /NUL/],
    [{ command: ['x', 3] }, 'command[1]', /is 3/],
    [{ command: 'x', args: 'y' }, 'args', /list/],
    [{ command: 'x', args: ['y', null] }, 'args[1]', /null/],
    [{ command: 'x', args: ['\0'] }, 'args[0]', /NUL/],
    [{ command: 'x', env: [] }, 'env', /list/],
    [{ command: 'x', env: { 'A=B': '1' } }, 'env.A=B', /no name/],
    [{ command: 'x', env: { A: {} } }, 'env.A', /an object/],
    [{ command: 'x', env: { A: '\0' } }, 'env.A', /NUL/],
    [{ command: 'x', env: { A: '${env:TROUPE_SPEC_MISSING}' } }, 'env.A', /TROUPE_SPEC_MISSING/],
    [{ command: 'x', inheritEnv: 'most' }, 'inheritEnv', /unknown/],
    [{ command: 'x', inheritEnv: [1] }, 'inheritEnv[0]', /is 1/],
    [{ command: 'x', cwd: '/nowhere/at/all' }, 'cwd', /does not exist/],
    [{ command: 'x', envFile: '/nowhere/.env' }, 'envFile', /does not exist/],
    [{ command: 'x', envFile: tmpdir() }, 'envFile', /not a file/],
    [{ command: 'x', headers: { a: 'b' } }, 'headers', /no meaning beside command/],
    [{ command: 'x', type: 'http' }, 'type', /command means stdio/],
    [{ command: 'x', url: 'https://h' }, 'url', /stands beside command/],
    [{ command: 'x', server: () => 1 }, 'server', /stands beside command/],
    [{ command: 'x', type: 'pipe' }, 'type', /"pipe"/],
  ])('refuses %j at %s', (server, field, problem) => {
    expect(serverRefusal(server)).toEqual(invalidAt(field, problem));
  });

  it('warns where a whole command line is given as the command', () => {
    expect(withWarnings({ command: 'npx -y x' })).toEqual([
      expect.stringContaining('arguments belong into args'),
    ]);
    expect(withWarnings({ command: '/opt/My App/run' })).toEqual([]);
  });

  describe('with files', () => {
    const folder = mkdtempSync(join(tmpdir(), 'troupe-config-'));
    afterAll(() => rmSync(folder, { recursive: true }));

    it('takes variables from envFile below env', () => {
      const envFile = join(folder, 'good.env');
      writeFileSync(envFile, 'A=file\nB=file\nexport C="x\\ny"\n');
      const env = stdio({ command: 'x', envFile, env: { B: 'written', C: null } }).env;
      expect({ ...env }).toEqual({ A: 'file', B: 'written', C: null });
    });

    it('refuses a line of envFile that means nothing', () => {
      const envFile = join(folder, 'bad.env');
      writeFileSync(envFile, 'A=1\nnonsense\n');
      expect(serverRefusal({ command: 'x', envFile })).toEqual(invalidAt('envFile', /line 2/));
    });

    it('takes a directory for cwd, no file', () => {
      const file = join(folder, 'file');
      writeFileSync(file, '');
      expect(stdio({ command: 'x', cwd: folder }).cwd).toBe(folder);
      expect(serverRefusal({ command: 'x', cwd: file })).toEqual(invalidAt('cwd', /not a directory/));
    });
  });
});

describe('an address', () => {
  it.each([
    [{ url: 'https://h/mcp' }, 'auto'],
    [{ serverUrl: 'https://h/mcp' }, 'auto'],
    [{ httpUrl: 'https://h/mcp' }, 'auto'],
    [{ type: 'remote', url: 'https://h/mcp' }, 'auto'],
    [{ type: 'http', url: 'https://h/mcp' }, 'streamable-http'],
    [{ type: 'streamable-http', url: 'https://h/mcp' }, 'streamable-http'],
    [{ type: 'streamableHttp', url: 'https://h/mcp' }, 'streamable-http'],
    [{ transportType: 'streamable_http', url: 'https://h/mcp' }, 'streamable-http'],
    [{ type: 'sse', url: 'https://h/mcp' }, 'sse'],
    [{ url: 'https://h/mcp', serverUrl: 'https://h/mcp' }, 'auto'],
    [{ url: new URL('https://h/mcp') }, 'auto'],
  ])('%j is http, %s', (server, flavour) => {
    expect(http(server)).toMatchObject({ kind: 'http', flavour });
    expect(http(server).url.href).toBe('https://h/mcp');
  });

  it.each([{ url: 'wss://h/' }, { type: 'ws', url: 'wss://h/' }, { type: 'websocket', url: 'wss://h/' }])(
    '%j is a WebSocket',
    (server) => {
      expect(where(server)).toMatchObject({ kind: 'websocket' });
    },
  );

  it('carries headers under lower-case names', () => {
    const { headers } = http({
      url: 'https://h',
      headers: { Authorization: ' Bearer x ', 'X-N': 3, gone: null },
    });
    expect({ ...headers }).toEqual({ authorization: 'Bearer x', 'x-n': '3' });
  });

  it('turns credentials of the address into a header of its origin', () => {
    const place = http({ url: 'https://me:p%40ss@h/mcp#part' });
    expect(place.url.href).toBe('https://h/mcp');
    expect(place.headers['authorization']).toBe(`Basic ${Buffer.from('me:p@ss').toString('base64')}`);
  });

  it.each([
    [{ url: 'nonsense' }, 'url', /no address/],
    [{ url: '' }, 'url', /no address/],
    [{ url: 3 }, 'url', /is 3/],
    [{ url: 'ftp://h' }, 'url', /ftp:/],
    [{ url: 'unix:///run/x.sock' }, 'url', /unix:/],
    [{ url: 'https://a', serverUrl: 'https://b' }, 'serverUrl', /differs/],
    [{ type: 'ws', url: 'https://h' }, 'type', /means http/],
    [{ type: 'http', url: 'wss://h' }, 'type', /means websocket/],
    [{ type: 'stdio', url: 'https://h' }, 'type', /means http/],
    [{ url: 'https://h', args: ['x'] }, 'args', /no meaning beside url/],
    [{ url: 'https://h', env: { A: '1' } }, 'env', /no meaning/],
    [{ url: 'https://h', headers: { 'a b': 'x' } }, 'headers.a b', /no name of a header/],
    [{ url: 'https://h', headers: { a: 'x\r\nb: y' } }, 'headers.a', /line break/],
    [{ url: 'https://h', headers: { a: 'x\n' } }, 'headers.a', /line break/],
    [{ url: 'https://h', headers: { a: '→' } }, 'headers.a', /cannot carry/],
    [{ url: 'https://h', headers: { a: 'x', A: 'y' } }, 'headers.A', /twice/],
    [{ url: 'https://h', headers: { a: [] } }, 'headers.a', /list/],
    [{ url: 'https://h', headers: 'x' }, 'headers', /string/],
    [{ url: 'https://h', headers: { 'Mcp-Session-Id': 'x' } }, 'headers.Mcp-Session-Id', /set by the engine/],
    [{ url: 'https://h', headers: { 'Content-Length': 1 } }, 'headers.Content-Length', /set by the engine/],
    [{ url: 'https://me:x@h', headers: { authorization: 'y' } }, 'url', /credentials beside/],
    [{ url: 'https://m%zz:x@h' }, 'url', /percent-encoded/],
  ])('refuses %j at %s', (server, field, problem) => {
    expect(serverRefusal(server)).toEqual(invalidAt(field, problem));
  });

  it('keeps an address that cannot be read out of the error: it may carry a key', () => {
    const error = serverRefusal({ url: 'https://?key=hunter2' });
    expect(error).toEqual(invalidAt('url'));
    expect(JSON.stringify(error) + error.stack + String(error.cause)).not.toContain('hunter2');
  });

  it.each([
    'http://localhost:1',
    'http://127.0.0.1',
    'http://127.1',
    'http://0x7f.1',
    'http://[::1]:2',
    'http://a.localhost',
    'ws://localhost',
  ])('accepts %s without encryption', (url) => {
    expect(where({ url })).toBeDefined();
  });

  it.each([
    'http://h',
    'http://10.0.0.1',
    'http://localhost.evil.example',
    'http://128.0.0.1',
    'ws://h',
    'http://0.0.0.0',
    'http://127.0.0.1.example',
  ])('refuses %s unless allowInsecure', (url) => {
    expect(serverRefusal({ url })).toEqual(invalidAt('url', /plain/, /allowInsecure/));
    expect(where({ url, allowInsecure: true })).toBeDefined();
  });

  it('knows loopback in the notations of WHATWG URL', () => {
    expect(isLoopback(new URL('http://[::ffff:127.0.0.1]').hostname)).toBe(true);
    expect(isLoopback(new URL('http://[::ffff:8.8.8.8]').hostname)).toBe(false);
    expect(isLoopback(new URL('http://2130706433').hostname)).toBe(true);
    expect(isLoopback('localhost.')).toBe(true);
  });
});

describe('functions', () => {
  it('make a server in this process or a transport', () => {
    const make = (): object => ({});
    expect(where({ server: make })).toEqual({ kind: 'in-process', server: make });
    expect(where({ transport: make })).toEqual({ kind: 'custom', transport: make });
  });

  it.each([
    [{ server: {} }, 'server', /function/],
    [{ transport: 'x' }, 'transport', /function/],
    [{ server: () => 1, transport: () => 1 }, 'transport', /stands beside server/],
    [{ server: () => 1, args: ['x'] }, 'args', /no meaning/],
    [{ server: () => 1, headers: { a: 'b' } }, 'headers', /no meaning/],
    [{}, '', /nowhere/],
  ])('are refused as %p', (server, field, problem) => {
    expect(serverRefusal(server)).toEqual(invalidAt(field, problem));
  });
});

describe('looksLikeServer', () => {
  it.each([
    [{ command: 'x' }, true],
    [{ command: ['x'] }, true],
    [{ url: 'x' }, true],
    [{ httpUrl: 'x' }, true],
    [{ server: () => 1 }, true],
    [{ replicas: [] }, true],
    [{ command: { command: 'x' } }, false],
    [{ server: { command: 'x' } }, false],
    [{}, false],
    [null, false],
    [[], false],
    ['x', false],
  ])('%j: %s', (value, answer) => {
    expect(looksLikeServer(value)).toBe(answer);
  });
});

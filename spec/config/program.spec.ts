import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from '@jest/globals';
import type { StdioPlace } from '../../lib/config/config.ts';
import { invalidAt, resolved, serverRefusal, withWarnings } from '../support/config-expectations.ts';

const stdio = (server: unknown): StdioPlace => resolved(server).replicas[0]?.where as StdioPlace;

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

  it.each([
    ['npx', ['-y', 'some-server']],
    ['npx', ['--yes', '@scope/some-server@latest', '--flag']],
    ['/usr/bin/npx', ['some-server']],
    ['uvx', ['some-server']],
    ['pnpm', ['dlx', 'some-server']],
  ])('warns of a package that is fetched anew each time without a version: %s', (command, args) => {
    expect(withWarnings({ command, args })).toEqual([expect.stringContaining('has no version')]);
  });

  it.each([
    ['npx', ['-y', 'some-server@1.2.3']],
    ['npx', ['-y', '@scope/some-server@2']],
    ['uvx', ['some-server==1.0']],
    ['npx', ['./own.js']],
    ['pnpm', ['run', 'server']],
    ['node', ['server']],
    ['npx', []],
  ])('does not warn of %s %j', (command, args) => {
    expect(withWarnings({ command, args })).toEqual([]);
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

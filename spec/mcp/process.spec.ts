import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, afterEach, describe, expect, it, jest } from '@jest/globals';
import { cpuTimeMs, type LaunchedProcess } from '../../lib/mcp/process.ts';
import { groupLives, signalGroup } from '../../lib/mcp/process-group.ts';
import { until } from '../support/engines.ts';
import { createNursery, firstLine, gone } from '../support/stdio-peer.ts';

// Starting a process takes a second on a busy machine.
jest.setTimeout(60_000);

describe.each([
  ['the host', false],
  // It exists on Linux only.
  ...(process.platform === 'linux' ? ([['a helper', true]] as const) : []),
])('started by %s', (_, helped) => {
  const nursery = createNursery(helped);
  const { clock } = nursery;
  const folder = mkdtempSync(join(tmpdir(), 'troupe-process-'));

  afterEach(() => nursery.clear());
  afterAll(async () => {
    await nursery.close();
    rmSync(folder, { recursive: true, force: true });
  });

  async function ready(mode: string, argument?: string | number): Promise<LaunchedProcess> {
    const child = await nursery.launch(mode, argument);
    await firstLine(child.stdout);
    return child;
  }

  describe('launch', () => {
    it('resolves when the program runs, with its pipes and id', async () => {
      const child = await nursery.launch('echo');
      expect(child.pid).toBeGreaterThan(0);
      expect(child.exit).toBeUndefined();
      child.stdin.write('{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1}}\n');
      expect(await firstLine(child.stdout)).toEqual({ jsonrpc: '2.0', id: 1, result: { a: 1 } });
      child.endInput();
      child.endInput();
      expect(await child.exited).toEqual({ code: 0, signal: null });
      expect(child.exit).toEqual({ code: 0, signal: null });
    });

    it('gives arguments to the program as they are, with the environment and folder told and no other', async () => {
      const args = ['$HOME', '$(touch nothing)', '; exit 1', '*', '', 'a b', '"\'`', 'ü\n'];
      const [command, peer] = [process.execPath, nursery.spec().args[0] ?? ''];
      const child = await nursery.launch('argv', '', { command, args: [peer, 'argv', ...args], cwd: folder });
      const { params } = (await firstLine(child.stdout)) as { params: Record<string, unknown> };
      expect(params).toEqual({ argv: args, cwd: realpathSync(folder), env: nursery.env });
    });

    const file = (name: string, text: string, mode: number): string => {
      const path = join(folder, name);
      writeFileSync(path, text);
      chmodSync(path, mode);
      return path;
    };

    it.each([
      [
        'a program that is not on the PATH',
        () => ({ command: 'no-such-program' }),
        'ENOENT',
        /"no-such-program".*on the PATH/,
      ],
      ['a file that is not there', () => ({ command: join(folder, 'nothing') }), 'ENOENT', /no such file/],
      [
        'a file that is no program',
        () => ({ command: file('plain', '#!/bin/sh\n', 0o644) }),
        'EACCES',
        /may not be executed/,
      ],
      [
        'a script without its interpreter',
        () => ({ command: file('script', '#!/no/such/shell\n', 0o755) }),
        'ENOENT',
        /interpreter/,
      ],
      [
        'a folder that is not there',
        () => ({ cwd: join(folder, 'gone') }),
        'ENOENT',
        /working directory .*gone does not exist/,
      ],
      [
        'a folder that is a file',
        () => ({ cwd: file('file', '', 0o644) }),
        'ENOTDIR',
        /working directory .* is not a directory/,
      ],
      [
        'an argument that no program can be given',
        () => ({ args: ['a\0b'] }),
        'ERR_INVALID_ARG_VALUE',
        /null bytes/,
      ],
    ])('rejects for %s, naming it', async (_, over, code, text) => {
      const launching = nursery.launch('echo', '', over());
      await expect(launching).rejects.toMatchObject({
        name: 'TroupeError',
        code: 'unavailable',
        delivery: 'unsent',
        server: 'peer',
        data: { code },
      });
      await expect(launching).rejects.toThrow(text);
      expect(nursery.left()).toEqual([]);
    });

    it('says how the process ended', async () => {
      const child = await nursery.launch('exit', 42);
      expect(await child.exited).toEqual({ code: 42, signal: null });
      const killed = await ready('ignore-all');
      process.kill(killed.pid, 'SIGKILL');
      expect(await killed.exited).toEqual({ code: null, signal: 'SIGKILL' });
      expect(await killed.stop()).toEqual({ code: null, signal: 'SIGKILL' });
    });
  });

  describe('stderr', () => {
    it('is read without anyone listening, and only its end is kept', async () => {
      const child = await nursery.launch('stderr', 1_000_000);
      child.stdin.write('{"jsonrpc":"2.0","id":1,"method":"x"}\n');
      await firstLine(child.stdout);
      await child.stop();
      const tail = child.stderrTail();
      expect(tail).toHaveLength(8192);
      expect(tail.endsWith('e\nthe last line\n')).toBe(true);
    });

    it('can be listened to', async () => {
      const child = await nursery.launch('stderr', 100_000, { stderrTailBytes: 0 });
      let bytes = 0;
      child.listenToStderr((chunk) => {
        bytes += chunk.length;
      });
      await child.stop();
      expect(bytes).toBe(100_000 + 'the last line\n'.length);
      expect(child.stderrTail()).toBe('');
    });
  });

  describe('terminate', () => {
    it('ends a polite server by the end of its stdin', async () => {
      const child = await nursery.launch('echo');
      expect(await child.terminate({ eofMs: 10_000, sigtermMs: 10_000 })).toEqual({ code: 0, signal: null });
      expect(nursery.left()).toEqual([]);
    });

    it('sends SIGTERM to one that ignores the end of stdin', async () => {
      const child = await ready('ignore-eof');
      expect(await child.terminate({ eofMs: 50, sigtermMs: 10_000 })).toEqual({
        code: null,
        signal: 'SIGTERM',
      });
      expect(nursery.left()).toEqual([]);
    });

    it('kills one that ignores that too, and not before', async () => {
      const child = await ready('ignore-all');
      const termed = firstLine(child.stdout);
      const ending = child.terminate({ eofMs: 50, sigtermMs: 300 });
      expect(await termed).toMatchObject({ method: 'notifications/sigterm' });
      expect(child.exit).toBeUndefined();
      expect(await ending).toEqual({ code: null, signal: 'SIGKILL' });
      expect(nursery.left()).toEqual([]);
    });

    it('ends one that is stopped', async () => {
      const child = await ready('ignore-eof');
      process.kill(child.pid, 'SIGSTOP');
      expect(await child.terminate({ eofMs: 20, sigtermMs: 20 })).toEqual({ code: null, signal: 'SIGKILL' });
    });

    it('ends one that does not read what is queued for it', async () => {
      const child = await ready('deaf');
      child.stdin.write('x'.repeat(5_000_000));
      expect(await child.terminate({ eofMs: 20, sigtermMs: 10_000 })).toEqual({
        code: null,
        signal: 'SIGTERM',
      });
    });

    it('is idempotent, and becomes faster when called again with less time', async () => {
      const child = await ready('ignore-all');
      const patient = child.terminate({ eofMs: 60_000, sigtermMs: 60_000 });
      const start = clock.now();
      const hasty = child.terminate({ eofMs: 0, sigtermMs: 0 });
      expect(await patient).toEqual({ code: null, signal: 'SIGKILL' });
      expect(await hasty).toEqual({ code: null, signal: 'SIGKILL' });
      expect(await child.terminate({ eofMs: 60_000, sigtermMs: 60_000 })).toEqual({
        code: null,
        signal: 'SIGKILL',
      });
      expect(clock.now() - start).toBeLessThan(10_000);
    });

    it('ends what the process started, also when that holds its pipes open', async () => {
      for (const mode of ['quiet-child', 'pipe-holding-child']) {
        const child = await ready(mode);
        expect(nursery.left()).toHaveLength(2);
        await child.terminate({ eofMs: 50, sigtermMs: 50 });
        expect(nursery.left()).toEqual([]);
        expect(child.stdout.closed).toBe(true);
        expect(child.stdin.destroyed).toBe(true);
      }
    });

    it('gives what the process started the time of the ladder, when the process itself was polite', async () => {
      const child = await ready('quiet-child');
      const ending = child.terminate({ eofMs: 400, sigtermMs: 100 });
      await child.exited;
      expect(nursery.left()).toHaveLength(1);
      await ending;
      expect(nursery.left()).toEqual([]);
    });
  });

  describe('terminate on a busy machine', () => {
    it('does not give up on a process that it has not killed yet, however late it comes to that', async () => {
      // Ten seconds pass during the first wait: a stalled host, or a long look at the processes.
      let leapt = 0;
      let waits = 0;
      const late: typeof clock = {
        ...clock,
        now: () => clock.now() + leapt,
        after: (ms, fn) => {
          waits += 1;
          if (waits > 1) return clock.after(ms, fn);
          return clock.after(1, () => {
            leapt += 10_000;
            fn();
          });
        },
      };
      const child = await nursery.launch('ignore-all', '', { clock: late });
      await firstLine(child.stdout);
      expect(await child.terminate({ eofMs: 50, sigtermMs: 50 })).toEqual({ code: null, signal: 'SIGKILL' });
      expect(nursery.left()).toEqual([]);
    });

    it('ends who is always just being born while it looks', async () => {
      // Each generation starts the next in our group and ends: a look at the processes, one after the other, may miss them all.
      const hopper = join(folder, 'hopper');
      writeFileSync(hopper, 'sleep 0.002\nsh "$0" &\n');
      const child = await nursery.launch('', '', { command: 'sh', args: ['-c', 'cat; sh "$0" &', hopper] });
      await child.terminate({ eofMs: 500, sigtermMs: 500 });
      await expect(ended(child.pid)).resolves.toBe(true);
    });
  });

  /** Whether the group has nobody left, zombies included, within 10 s. */
  async function ended(group: number): Promise<boolean> {
    const end = clock.now() + 10_000;
    while (signalGroup(group, 0)) {
      if (clock.now() > end) return false;
      await new Promise<void>((resolve) => void clock.after(10, resolve));
    }
    return true;
  }

  describe('a process that dies by itself', () => {
    it('is followed by what it started, without anyone asking', async () => {
      const child = await ready('quiet-child');
      expect(nursery.left()).toHaveLength(2);
      process.kill(child.pid, 'SIGKILL');
      await child.exited;
      await nursery.settle();
    });

    it('is stopped at once afterwards', async () => {
      const child = await ready('pipe-holding-child');
      process.kill(child.pid, 'SIGKILL');
      await child.exited;
      expect(await child.terminate({ eofMs: 60_000, sigtermMs: 60_000 })).toEqual({
        code: null,
        signal: 'SIGKILL',
      });
      expect(nursery.left()).toEqual([]);
    });
  });

  describe('the exit of the host', () => {
    it('is listened to once, and only while there are processes', async () => {
      const before = process.listenerCount('exit');
      const children = await Promise.all(Array.from({ length: 4 }, () => nursery.launch('echo')));
      expect(process.listenerCount('exit')).toBe(before + 1);
      await children[0]?.stop();
      expect(process.listenerCount('exit')).toBe(before + 1);
      await Promise.all(children.map((child) => child.stop()));
      expect(process.listenerCount('exit')).toBe(before);
    });

    it.each(['exit', 'throw'])('by %s takes all process groups with it', async (how) => {
      const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
      const script = fileURLToPath(new URL('../support/stdio-host.mjs', import.meta.url));
      const host = spawn(process.execPath, ['--import', tsx, script, how, helped ? 'helped' : ''], {
        env: nursery.env,
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      let said = '';
      host.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
      const [code] = (await once(host, 'exit')) as [number];
      expect(said).toMatch(helped ? /^\d+\nup\n$/ : /^up\n$/);
      expect(code).toBe(how === 'exit' ? 7 : 1);
      await nursery.settle();
      if (helped) await gone(Number.parseInt(said, 10));
    });
  });

  describe('groupLives', () => {
    it('does not count zombies', async () => {
      const parent = await nursery.launch('child-of-another-group');
      const { params } = (await firstLine(parent.stdout)) as { params: { pid: number } };
      expect(await groupLives(params.pid)).toBe(true);
      // A parent that is stopped cannot collect its child.
      process.kill(parent.pid, 'SIGSTOP');
      process.kill(params.pid, 'SIGKILL');
      // Its memory goes first; then it is a zombie.
      await until(async () => !(await groupLives(params.pid)), 'nobody to be seen');
      expect(() => process.kill(-params.pid, 0)).not.toThrow();
    });

    it('sees a group that lives, and one that never was', async () => {
      const child = await nursery.launch('echo');
      expect(await groupLives(child.pid)).toBe(true);
      await child.stop();
      expect(await groupLives(child.pid)).toBe(false);
    });

    it('answers many who ask at once', async () => {
      const children = await Promise.all(
        Array.from({ length: 4 }, () => nursery.launch('child-of-another-group')),
      );
      const groups = await Promise.all(
        children.map(async ({ stdout }) => {
          const { params } = (await firstLine(stdout)) as { params: { pid: number } };
          return params.pid;
        }),
      );
      const live = (): Promise<boolean[]> => Promise.all(groups.map(groupLives));
      expect(await live()).toEqual([true, true, true, true]);
      // Zombies, so that only a look tells: their parents are stopped.
      for (const { pid } of children) process.kill(pid, 'SIGSTOP');
      for (const [i, group] of groups.entries()) {
        process.kill(group, 'SIGKILL');
        await until(
          async () =>
            isDeepStrictEqual(
              await live(),
              groups.map((__, at) => at > i),
            ),
          `the end of ${i + 1} of four`,
        );
      }
    });
  });

  describe('cpuTimeMs', () => {
    it('counts for a process that is there', () => {
      expect(cpuTimeMs(process.pid)).toBeGreaterThan(0);
      expect(cpuTimeMs(2 ** 30)).toBeUndefined();
    });
  });
});

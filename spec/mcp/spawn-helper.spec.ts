import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, afterEach, describe, expect, it, jest } from '@jest/globals';
import { createLauncher, type Launcher, type LaunchedProcess } from '../../lib/mcp/process.ts';
import { HelperGone, SpawnHelper } from '../../lib/mcp/spawn-helper.ts';
import { createNursery, firstLine, gone, parentOf, untilHelped } from '../support/stdio-peer.ts';

// Starting a process takes a second on a busy machine.
jest.setTimeout(60_000);

const nursery = createNursery();
const folder = mkdtempSync(join(tmpdir(), 'troupe-helper-'));
// It exists on Linux only.
const onLinux = process.platform === 'linux' ? describe : describe.skip;
const launchers: Launcher[] = [];

function launcherAbove(helperAboveBytes: number): Launcher {
  const launcher = createLauncher({ helperAboveBytes });
  launchers.push(launcher);
  return launcher;
}

afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(async () => {
  await nursery.clear();
  await Promise.all(launchers.splice(0).map((launcher) => launcher.close()));
});

const shell = (script: string): Parameters<Launcher['launch']>[0] =>
  nursery.spec({ command: 'sh', args: ['-c', script] });

async function textOf(child: LaunchedProcess): Promise<string> {
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  await once(child.stdout, 'close');
  return text;
}

onLinux('who starts a process', () => {
  it('is the host, as long as none has ended by itself', async () => {
    const launcher = launcherAbove(0);
    for (let i = 0; i < 2; i += 1) {
      const child = await launcher.launch(shell('cat'));
      expect(parentOf(child.pid)).toBe(process.pid);
      await child.stop();
    }
  });

  it('is the host whatever happens, when that is small', async () => {
    const launcher = launcherAbove(Infinity);
    for (let i = 0; i < 3; i += 1) {
      const child = await launcher.launch(shell('cat'));
      expect(parentOf(child.pid)).toBe(process.pid);
      process.kill(child.pid, 'SIGKILL');
      await child.exited;
      await new Promise((resolve) => void setTimeout(resolve, 100));
    }
  });

  it('is one helper for all that follow', async () => {
    const launcher = launcherAbove(0);
    const helper = await untilHelped(launcher, nursery.spec());
    const children = await Promise.all(Array.from({ length: 5 }, () => launcher.launch(shell('cat'))));
    expect(children.map(({ pid }) => parentOf(pid))).toEqual([helper, helper, helper, helper, helper]);
    await Promise.all(children.map((child) => child.stop()));
  });

  it('is the host again after the end of the helper, whose children count as ended and are', async () => {
    const launcher = launcherAbove(0);
    const helper = await untilHelped(launcher, nursery.spec());
    const child = await launcher.launch(nursery.spec({ args: [...nursery.spec().args, 'quiet-child'] }));
    await firstLine(child.stdout);
    expect(nursery.left()).toHaveLength(2);
    process.kill(helper, 'SIGKILL');
    expect(await child.exited).toEqual({ code: null, signal: null });
    await nursery.settle();
    const next = await launcher.launch(shell('cat'));
    expect(await next.stop()).toEqual({ code: 0, signal: null });
    // The loss of its child has called for another one.
    expect(await untilHelped(launcher, nursery.spec())).not.toBe(helper);
  });
});

onLinux('what passes the hands of the helper', () => {
  it('is whole, however soon it is said', async () => {
    const launcher = launcherAbove(0);
    await untilHelped(launcher, nursery.spec());
    for (let i = 0; i < 20; i += 1) {
      const child = await launcher.launch(shell(`echo ${i}; head -c 200000 /dev/zero; echo; echo end >&2`));
      // Nobody reads for a while.
      if (i % 2 === 0) await new Promise((resolve) => void setTimeout(resolve, 5));
      expect(await textOf(child)).toBe(`${i}\n${'\0'.repeat(200_000)}\n`);
      expect(await child.exited).toEqual({ code: 0, signal: null });
      await until(() => child.stderrTail() === 'end\n');
    }
  });

  it('is whole also of many that are over before it is handed over, and each runs once', async () => {
    const launcher = launcherAbove(0);
    await untilHelped(launcher, nursery.spec());
    const file = join(folder, 'ran');
    const said = await Promise.all(
      Array.from({ length: 12 }, async (_, i) => {
        const child = await launcher.launch(shell(`echo ${i} >> ${file}; echo out ${i}; echo err ${i} >&2`));
        const text = await textOf(child);
        await until(() => child.stderrTail() === `err ${i}\n`);
        return [text, (await child.exited).code];
      }),
    );
    expect(said).toEqual(Array.from({ length: 12 }, (_, i) => [`out ${i}\n`, 0]));
    const ran = readFileSync(file, 'utf8').trimEnd().split('\n').map(Number);
    expect(ran.sort((a, b) => a - b)).toEqual(Array.from({ length: 12 }, (_, i) => i));
  });

  it('goes to whom it belongs, in both directions', async () => {
    const launcher = launcherAbove(0);
    await untilHelped(launcher, nursery.spec());
    const sent = Array.from({ length: 20 }, (_, i) =>
      createHash('sha512').update(`${i}`).digest('hex').repeat(1_000),
    );
    const got = await Promise.all(
      sent.map(async (text) => {
        const child = await launcher.launch(shell('cat'));
        const reading = textOf(child);
        child.stdin.write(text);
        child.endInput();
        return reading;
      }),
    );
    expect(got).toEqual(sent);
  });

  it('can be written to after the server has closed its stdin, and fails as a pipe does', async () => {
    const launcher = launcherAbove(0);
    await untilHelped(launcher, nursery.spec());
    const child = await launcher.launch(shell('exec 0<&-; echo "{}"; sleep 60'));
    await firstLine(child.stdout);
    const failed = once(child.stdin, 'error');
    const timer = setInterval(() => child.stdin.write('x'), 5);
    await expect(failed).resolves.toMatchObject([{ code: 'EPIPE' }]);
    clearInterval(timer);
    expect(child.exit).toBeUndefined();
    await child.terminate({ eofMs: 0, sigtermMs: 0 });
  });
});

onLinux('a helper', () => {
  const node = (text: string): ReturnType<typeof spawn> =>
    spawn(process.execPath, ['-e', text], { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });

  const { clock } = nursery;
  /** Time passes when a spec says so. */
  const timer = {
    due: [] as Array<() => void>,
    after(_: number, fn: () => void) {
      timer.due.push(fn);
      return () => void timer.due.splice(0, timer.due.length, ...timer.due.filter((other) => other !== fn));
    },
    fire(count = Infinity) {
      for (const fn of timer.due.splice(0, count)) fn();
    },
  };
  afterEach(() => timer.fire());
  const marked = (...command: string[]): [string, ...string[]] => [
    'env',
    `TROUPE_SPEC_MARKER=${nursery.env['TROUPE_SPEC_MARKER']}`,
    ...command,
  ];
  const nothing = { command: 'sh', args: [], options: {} };

  it('that is held up gets no more orders; what it has started lives, and its end is heard', async () => {
    // The second order never comes to an end.
    const helper = new SpawnHelper(
      () =>
        node(`const { spawn } = require('node:child_process');
        process.on('message', ({ number: order, command, args }) => {
          if (order > 1) return;
          const { pid, stdin, stdout, stderr } = spawn(command, args, { detached: true })
            .once('exit', (code, signal) => process.send({ order, exit: [code, signal] }));
          for (const [pipe, socket] of Object.entries({ stdin, stdout, stderr })) process.send({ order, pipe, pid }, socket);
        });
        process.send('ready');`),
      timer,
    );
    helper.warm();
    await until(() => helper.ready);
    const child = await helper.start({ command: 'sh', args: ['-c', 'read line; exit 5'], options: {} });
    const exit = new Promise((resolve) => child.onExit((...how) => resolve(how)));
    const starting = helper.start(nothing);
    timer.fire();
    await expect(starting).rejects.toBeInstanceOf(HelperGone);
    await expect(helper.start(nothing)).rejects.toBeInstanceOf(HelperGone);
    expect(helper.ready).toBe(false);
    helper.warm();
    expect(helper.ready).toBe(false);
    child.stdin.write('\n');
    expect(await exit).toEqual([5, null]);
    // With the last that it has started it is gone, and another may come.
    helper.warm();
    await until(() => helper.ready);
    await helper.close();
  });

  it('that tells too late of what it has started has started it for nobody', async () => {
    const helper = new SpawnHelper(
      () =>
        node(`process.once('message', ({ number: order, command, args }) => {
        process.once('message', () => {
          const { pid, stdin } = require('node:child_process').spawn(command, args, { detached: true });
          process.send({ order, pipe: 'stdin', pid }, stdin);
        });
      });
      process.send('ready');`),
      timer,
    );
    helper.warm();
    await until(() => helper.ready);
    const [command, ...args] = marked('sleep', '60');
    const first = helper.start({ command, args, options: {} });
    const second = helper.start(nothing).catch((error: unknown) => error);
    // Only the first is given up, so that the helper stays.
    timer.fire(1);
    await expect(first).rejects.toBeInstanceOf(HelperGone);
    await new Promise((resolve) => void setTimeout(resolve, 300));
    await nursery.settle();
    await helper.close();
    expect(await second).toBeInstanceOf(HelperGone);
  });

  it('that never says that it is ready is ended', async () => {
    let pid = 0;
    const helper = new SpawnHelper(() => {
      const child = node('setInterval(()=>{},60000)');
      pid = child.pid ?? 0;
      return child;
    }, timer);
    helper.warm();
    timer.fire();
    await gone(pid);
    helper.warm();
    expect(helper.ready).toBe(false);
  });

  it('for which there is no room in the system harms nobody', async () => {
    let starts = 0;
    const helper = new SpawnHelper(() => {
      starts += 1;
      throw Object.assign(new Error('spawn ENOMEM'), { code: 'ENOMEM' });
    }, clock);
    helper.warm();
    helper.warm();
    expect([starts, helper.ready]).toEqual([1, false]);
    await helper.close();
  });

  it('that cannot start is not tried again', async () => {
    let starts = 0;
    const helper = new SpawnHelper(() => {
      starts += 1;
      return node('process.exit(1)');
    }, clock);
    helper.warm();
    await until(() => {
      helper.warm();
      return starts === 1 && !helper.ready;
    });
    await new Promise((resolve) => void setTimeout(resolve, 300));
    helper.warm();
    expect(starts).toBe(1);
    await expect(helper.start(nothing)).rejects.toBeInstanceOf(HelperGone);
    await helper.close();
  });

  it('that is no program at all harms nobody', async () => {
    const helper = new SpawnHelper(
      () => spawn('/no/such/program', { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] }),
      clock,
    );
    helper.warm();
    await helper.close();
    expect(helper.ready).toBe(false);
  });

  it('that ends while it starts something says so', async () => {
    const helper = new SpawnHelper(
      () => node("process.send('ready');process.once('message',()=>process.exit())"),
      clock,
    );
    helper.warm();
    await until(() => helper.ready);
    await expect(helper.start(nothing)).rejects.toBeInstanceOf(HelperGone);
    await helper.close();
  });

  it('that ends before it has handed over all pipes leaves no child behind', async () => {
    // One pipe of three.
    const helper = new SpawnHelper(
      () =>
        node(`process.once('message', ({ number: order, command, args }) => {
        const child = require('node:child_process').spawn(command, args, { detached: true });
        process.send({ order, pipe: 'stdin', pid: child.pid }, child.stdin, () => process.exit());
      });
      process.send('ready');`),
      clock,
    );
    helper.warm();
    await until(() => helper.ready);
    const [command, ...args] = [
      'env',
      `TROUPE_SPEC_MARKER=${nursery.env['TROUPE_SPEC_MARKER']}`,
      'sleep',
      '60',
    ];
    await expect(helper.start({ command, args, options: {} })).rejects.toBeInstanceOf(HelperGone);
    await nursery.settle();
    await helper.close();
  });

  it('is gone once it is closed, and not started again', async () => {
    const launcher = launcherAbove(0);
    const helper = await untilHelped(launcher, nursery.spec());
    await launcher.close();
    await gone(helper);
    const child = await launcher.launch(shell('exit 1'));
    await child.exited;
    await launcher.close();
    expect(parentOf((await launcher.launch(shell('exit 1'))).pid)).toBe(process.pid);
  });

  it('does not keep the host alive, and ends with it, even when that is killed', async () => {
    const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
    const script = fileURLToPath(new URL('../support/bystander-host.mjs', import.meta.url));
    for (const kill of [false, true]) {
      const host = spawn(process.execPath, ['--import', tsx, script, kill ? 'stay' : ''], {
        env: nursery.env,
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const [said] = (await once(host.stdout, 'data')) as [Buffer];
      if (kill) host.kill('SIGKILL');
      const [code] = (await once(host, 'exit')) as [number | null];
      expect(code).toBe(kill ? null : 0);
      await gone(Number(said.toString()));
    }
  });
});

async function until(holds: () => boolean): Promise<void> {
  const end = performance.now() + 10_000;
  while (!holds()) {
    if (performance.now() > end) throw new Error('not so after 10 s');
    await new Promise((resolve) => void setTimeout(resolve, 5));
  }
}

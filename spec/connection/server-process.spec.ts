import { describe, expect, it } from '@jest/globals';
import type { ProcessExit, Running } from '../../lib/connection/server-process.machine.ts';
import { ServerProcess } from '../../lib/connection/server-process.ts';
import { TroupeError } from '../../lib/core/errors.ts';
import type { ProcessState } from '../../lib/core/events.ts';

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

interface Fake {
  readonly process: ServerProcess;
  readonly states: ProcessState[];
  readonly launched: (running: Running) => void;
  readonly failed: (error: unknown) => void;
  launches: number;
}

function fake(): Fake {
  let launched: Fake['launched'] = () => {};
  let failed: Fake['failed'] = () => {};
  const launch = new Promise<Running>((resolve, reject) => {
    launched = resolve;
    failed = reject;
  });
  const made: Fake = {
    launches: 0,
    states: [],
    launched: (running) => launched(running),
    failed: (error) => failed(error),
    process: new ServerProcess(() => {
      made.launches += 1;
      return launch;
    }),
  };
  made.process.subscribe((state) => made.states.push(state));
  return made;
}

function createRunning(
  stop: () => Promise<ProcessExit>,
): Running & { exit: (exit: ProcessExit) => void; stops: number } {
  let exit: (exit: ProcessExit) => void = () => {};
  const running = {
    pid: 77,
    stops: 0,
    exited: new Promise<ProcessExit>((resolve) => {
      exit = resolve;
    }),
    exit: (how: ProcessExit) => exit(how),
    stop() {
      running.stops += 1;
      return stop();
    },
  };
  return running;
}

const polite = { code: 0, signal: null };

describe('ServerProcess', () => {
  it('starts nothing by itself', async () => {
    const { process, states, ...rest } = fake();
    await turn();
    expect([process.state, process.pid, process.exit, states, rest.launches]).toEqual([
      'Created',
      undefined,
      undefined,
      [],
      0,
    ]);
  });

  it('starts once, however often it is asked', async () => {
    const scene = fake();
    const starts = [scene.process.start(), scene.process.start()];
    const running = createRunning(() => Promise.resolve(polite));
    scene.launched(running);
    expect(await Promise.all([...starts, scene.process.start()])).toEqual([running, running, running]);
    expect(scene.launches).toBe(1);
    expect(scene.process.pid).toBe(77);
    expect(scene.states).toEqual(['Starting', 'Running']);
  });

  it('rejects with what prevented the start', async () => {
    const scene = fake();
    const start = scene.process.start();
    const cause = new TroupeError('unavailable', 'no such program', { server: 'peer' });
    scene.failed(cause);
    await expect(start).rejects.toBe(cause);
    await expect(scene.process.start()).rejects.toBe(cause);
    expect(scene.states).toEqual(['Starting', 'Stopped']);
    expect(scene.process.exit).toEqual({ code: null, signal: null });
  });

  it('takes a launch that throws for one that fails', async () => {
    const process = new ServerProcess(() => {
      throw new Error('defect');
    });
    await expect(process.start()).rejects.toMatchObject({ code: 'internal' });
    expect(process.state).toBe('Stopped');
  });

  it('waits for the start when stopped during it, and leaves nothing running', async () => {
    const scene = fake();
    const start = scene.process.start().catch((error: unknown) => error);
    const stop = scene.process.stop();
    expect(await start).toMatchObject({ code: 'stopped' });
    expect(scene.process.state).toBe('Stopping');
    const running = createRunning(() => Promise.resolve(polite));
    scene.launched(running);
    await stop;
    expect(running.stops).toBe(1);
    expect(scene.states).toEqual(['Starting', 'Stopping', 'Stopped']);
  });

  it('stops when the start that it waits for fails', async () => {
    const scene = fake();
    const start = scene.process.start().catch((error: unknown) => error);
    const stop = scene.process.stop();
    scene.failed(new Error('no'));
    await stop;
    expect(await start).toMatchObject({ code: 'stopped' });
    expect(scene.states).toEqual(['Starting', 'Stopping', 'Stopped']);
  });

  it('cannot be started after it was stopped', async () => {
    const scene = fake();
    await scene.process.stop();
    await expect(scene.process.start()).rejects.toMatchObject({ code: 'stopped' });
    expect(scene.launches).toBe(0);
    expect(scene.states).toEqual(['Stopped']);
  });

  it('gives what it started even when that has ended again', async () => {
    const scene = fake();
    const start = scene.process.start();
    const running = createRunning(() => Promise.resolve(polite));
    running.exit({ code: 3, signal: null });
    scene.launched(running);
    expect(await start).toBe(running);
    await turn();
    expect(scene.states).toEqual(['Starting', 'Running', 'Stopped']);
    expect(scene.process.exit).toEqual({ code: 3, signal: null });
  });

  it('ends what a process left behind that ended by itself', async () => {
    const scene = fake();
    void scene.process.start();
    const running = createRunning(() => Promise.resolve(polite));
    scene.launched(running);
    await turn();
    running.exit(polite);
    await turn();
    expect(scene.process.state).toBe('Stopped');
    await scene.process.stop();
    expect(running.stops).toBe(1);
  });

  it.each(['a stop that fails', 'a watch that fails'])(
    'is Stopped after %s, and the host does not hear of it',
    async (what) => {
      const scene = fake();
      void scene.process.start();
      const fails = (): Promise<never> => Promise.reject(new Error('defect'));
      const running = what.startsWith('a stop')
        ? createRunning(fails)
        : { pid: 1, exited: fails(), stop: fails };
      scene.launched(running);
      await turn();
      await scene.process.stop();
      expect(scene.process.state).toBe('Stopped');
      expect(scene.states.at(-1)).toBe('Stopped');
    },
  );

  it('goes on when a listener throws, and stops telling one that has gone', async () => {
    const scene = fake();
    const heard: ProcessState[] = [];
    const end = scene.process.subscribe((state) => heard.push(state));
    scene.process.subscribe(() => {
      throw new Error('defect');
    });
    const start = scene.process.start();
    end();
    scene.launched(createRunning(() => Promise.resolve(polite)));
    await start;
    await scene.process.stop();
    await scene.process.stop();
    expect(heard).toEqual(['Starting']);
    expect(scene.states).toEqual(['Starting', 'Running', 'Stopping', 'Stopped']);
  });
});

import { describe, expect, it, jest } from '@jest/globals';
import type { Engine } from '../../lib/engine/contract.ts';
import { QUICK, LINUX, engines, isConnected, pause, stdio, textOf, until } from '../support/engines.ts';
import { gone, parentOf } from '../support/stdio-peer.ts';

jest.setTimeout(30_000);
const engine = engines();
const onLinux = LINUX ? describe : describe.skip;

const pidOf = (of: Engine, id: string): number => {
  const pid = of.connection(id).process?.pid;
  if (pid === undefined) throw new Error(`${id} has no process`);
  return pid;
};

const isAnother = (of: Engine, id: string, pid: number): boolean =>
  isConnected(of, id) && pidOf(of, id) !== pid;

/** Kills it until another process than this one has started it again; its parent. */
async function helped(of: Engine, id: string): Promise<number> {
  for (let i = 0; i < 20; i += 1) {
    const before = pidOf(of, id);
    process.kill(before, 'SIGKILL');
    await until(() => isAnother(of, id, before), `${id} to be back`);
    const parent = parentOf(pidOf(of, id));
    if (parent !== process.pid) return parent;
    await pause(50);
  }
  throw new Error('no helper came');
}

onLinux('the helper that starts processes', () => {
  it('serves a large host from the first death on, and is gone after the stop', async () => {
    const troupe = engine({
      servers: { a: stdio('good'), b: stdio('good') },
      restart: { ...QUICK },
      spawnHelperAboveBytes: 0,
    });
    await troupe.start();
    expect(parentOf(pidOf(troupe, 'a'))).toBe(process.pid);
    const helper = await helped(troupe, 'a');
    expect(await textOf(troupe.callTool('a__echo', { message: 'x' }))).toBe('x');
    // The other was never touched.
    expect(parentOf(pidOf(troupe, 'b'))).toBe(process.pid);
    const before = pidOf(troupe, 'a');
    process.kill(before, 'SIGKILL');
    await until(() => isAnother(troupe, 'a', before), 'a to be back');
    expect(parentOf(pidOf(troupe, 'a'))).toBe(helper);
    const pids = [pidOf(troupe, 'a'), pidOf(troupe, 'b'), helper];
    await troupe.stop();
    for (const pid of pids) await gone(pid);
  });

  it('may die: its servers come back, started by the host', async () => {
    const troupe = engine({
      servers: { a: stdio('good') },
      restart: { ...QUICK },
      spawnHelperAboveBytes: 0,
    });
    await troupe.start();
    const helper = await helped(troupe, 'a');
    const before = pidOf(troupe, 'a');
    process.kill(helper, 'SIGKILL');
    await gone(before);
    await until(() => isAnother(troupe, 'a', before), 'a to be back');
    expect(await textOf(troupe.callTool('a__echo', { message: 'x' }))).toBe('x');
  });

  it('does not come where it is not wanted', async () => {
    const troupe = engine({
      servers: { a: stdio('good') },
      restart: { ...QUICK },
      spawnHelperAboveBytes: Infinity,
    });
    await troupe.start();
    for (let i = 0; i < 3; i += 1) {
      const before = pidOf(troupe, 'a');
      process.kill(before, 'SIGKILL');
      await until(() => isAnother(troupe, 'a', before), 'a to be back');
      expect(parentOf(pidOf(troupe, 'a'))).toBe(process.pid);
    }
  });
});

import type { Random } from '../../lib/index.ts';
import type { Control } from './control.ts';
import type { FaultPlan, FaultTransport } from './faults.ts';

export interface InjectorOptions {
  readonly control: Control;
  readonly plan: FaultPlan;
  readonly random: Random;
  readonly server: string;
  readonly transport: FaultTransport;
  /** Whether the engine trusts the server again: connected, breaker closed. */
  readonly isWell: () => boolean;
  readonly goesOn: () => boolean;
  /** Between two faults, on average, milliseconds. */
  readonly restMs: number;
}

/** A server that does not come back is left to the check of convergence, milliseconds. */
const RECOVERY_MS = 20_000;

/** One fault after the other in one server, with a rest between them; each is counted if it took effect. */
export async function injectFaults(options: InjectorOptions): Promise<void> {
  const { control, plan, random, server, transport, isWell, goesOn, restMs } = options;
  await pause(random() * 500);
  while (goesOn()) {
    const giveUp = performance.now() + RECOVERY_MS;
    while (goesOn() && !isWell() && performance.now() < giveUp) await pause(20);
    if (!goesOn()) return;
    // Some calls go well in between: the next fault shall meet a server at work.
    await pause(restMs * (0.5 + random()));
    const peer = control.peer(server);
    if (peer === undefined) continue;
    const { kind, ms } = plan.next(transport);
    if (kind === 'kill -9') {
      plan.seen(kind, signal(peer.pid, 'SIGKILL') ? 1 : 0);
    } else if (kind === 'SIGSTOP') {
      const stopped = signal(peer.pid, 'SIGSTOP');
      await pause(ms);
      signal(peer.pid, 'SIGCONT');
      plan.seen(kind, stopped ? 1 : 0);
    } else plan.seen(kind, await control.fault(server, kind, ms));
    await pause(50);
  }
}

/** False where the process is gone already: the engine may have ended it meanwhile. */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

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
}

/** A server that does not come back is left to the check of convergence, milliseconds. */
const RECOVERY_MS = 20_000;

/** One fault after the other in one server, with a rest between them; each is counted if it took effect. */
export async function injectFaults(options: InjectorOptions): Promise<void> {
  const { control, plan, random, server, transport, isWell, goesOn } = options;
  await pause(random() * 500);
  while (goesOn()) {
    const giveUp = performance.now() + RECOVERY_MS;
    while (goesOn() && !isWell() && performance.now() < giveUp) await pause(20);
    if (!goesOn()) return;
    // Some calls go well in between: the next fault shall meet a server at work.
    await pause(100 + random() * 200);
    const peer = control.peer(server);
    if (peer === undefined) continue;
    const { kind, ms } = plan.next(transport);
    if (kind === 'kill -9') {
      process.kill(peer.pid, 'SIGKILL');
      plan.seen(kind, 1);
    } else if (kind === 'SIGSTOP') {
      process.kill(peer.pid, 'SIGSTOP');
      await pause(ms);
      resume(peer.pid);
      plan.seen(kind, 1);
    } else plan.seen(kind, await control.fault(server, kind, ms));
    await pause(50);
  }
}

/** The engine may have ended it meanwhile. */
function resume(pid: number): void {
  try {
    process.kill(pid, 'SIGCONT');
  } catch {
    // Gone, as it may be.
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

import type { RoutingStrategy } from '../../../lib/routing/strategy.ts';
import { createPicker } from '../../../lib/routing/picker.ts';
import { Kernel } from '../kernel.ts';
import { type Experiment, type Finding, type Lab, rises } from '../lab.ts';
import { mean } from '../metrics.ts';
import { ServerModel } from '../server-model.ts';
import { exponential, poisson } from '../sizes.ts';

/** Behaviour 6: a board with all queue lengths, written anew every T; the pickers see nothing else (Mitzenmacher 2000). */
function timeInSystem(lab: Lab, strategy: RoutingStrategy, everyMs: number, seed: number): number {
  const n = 100;
  const kernel = new Kernel(seed);
  const servers = Array.from({ length: n }, (_, i) => new ServerModel(kernel, {}, i));
  const board = new Int32Array(n);
  const picker = createPicker({
    strategy,
    replicas: servers.map((_, i) => ({
      id: `pool#${i}`,
      availability: 'usable' as const,
      get load() {
        return { inFlight: board[i]!, queued: 0 };
      },
    })),
    random: kernel.stream('routing'),
    clock: kernel,
  });
  const gaps = poisson(0.9 * n);
  const size = exponential(1);
  const [arrivals, sizes] = [kernel.stream('arrivals'), kernel.stream('sizes')];
  const wanted = Math.round(150_000 * Math.max(0.2, lab.scale));
  const latencies: number[] = [];
  let asked = 0;
  const query = { attempt: 1, tried: [], operation: 'read' } as const;
  const arrival = {
    happen(): void {
      const at = kernel.now();
      const picked = picker.pick(query);
      // No lease: what the client itself has sent is not on the board either.
      if (picked.kind === 'picked') {
        servers[picked.index]!.take({
          size: size(sizes),
          key: -1,
          expiresAt: Infinity,
          end: () => void latencies.push(kernel.now() - at),
        });
      }
      if (++asked < wanted) kernel.at(at + gaps(arrivals), arrival);
    },
  };
  const writing = {
    happen(): void {
      servers.forEach((server, i) => {
        board[i] = server.inFlight;
      });
      if (asked < wanted) kernel.at(kernel.now() + everyMs, writing);
    },
  };
  kernel.at(0, writing);
  kernel.at(0, arrival);
  kernel.run();
  return mean(latencies.slice(Math.floor(latencies.length / 10)));
}

function staleBoard(lab: Lab): Finding[] {
  const at = (name: string, T: number): number =>
    mean(lab.seeds.slice(0, 2).map((seed) => timeInSystem(lab, lab.strategy(name), T, seed)));
  const random = at('random', 1);
  const rows = [0.1, 0.5, 1, 5, 20, 50].map((T) => ({
    T,
    two: at('p2c', T),
    all: at('least-outstanding', T),
  }));
  return rows.map(({ T, two, all }) => {
    if (T <= 0.5) return rises(`T=${T}: shortest of all wins`, { all, two, random });
    if (T < 50) return rises(`T=${T}: two choices win`, T < 20 ? { two, all } : { two, random, all });
    return rises(`T=${T}: random wins; shortest is tens of times worse (46×)`, {
      random,
      two,
      'all / 20': all / 20,
    });
  });
}

export const STALE: readonly Experiment[] = [{ id: 'B6', what: 'stale board, n=100 λ=.9', run: staleBoard }];

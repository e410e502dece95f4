import type { RoutingStrategy } from '../../../lib/routing/strategy.ts';
import { Kernel } from '../kernel.ts';
import { type Experiment, type Finding, type Lab, factor, knownToDiffer, rises } from '../lab.ts';
import { mean } from '../metrics.ts';
import { ServerModel } from '../server-model.ts';
import { exponential, poisson } from '../sizes.ts';
import { strictPicker } from '../strict-picker.ts';
import { bestOf } from '../validate/queues.ts';

const QUERY = { attempt: 1, tried: [], operation: 'read' } as const;

/** Behaviour 6: a board with all queue lengths, written anew every T; the pickers see nothing else (Mitzenmacher 2000). */
function timeInSystem(lab: Lab, strategy: RoutingStrategy, everyMs: number, seed: number): number {
  const n = 100;
  const kernel = new Kernel(seed);
  const servers = Array.from({ length: n }, (_, i) => new ServerModel(kernel, {}, i));
  const board = Array.from({ length: n }, () => ({ inFlight: 0, queued: 0 }));
  const picker = strictPicker({
    strategy,
    replicas: board.map((load, i) => ({ id: `pool#${i}`, availability: 'usable' as const, load })),
    random: kernel.stream('routing'),
    clock: kernel,
  });
  const gap = poisson(0.9 * n)(kernel.stream('arrivals'));
  const size = exponential(1);
  const sizes = kernel.stream('sizes');
  const wanted = Math.round(100_000 * Math.max(0.2, lab.scale));
  const latencies: number[] = [];
  let asked = 0;
  const arrival = {
    happen(): void {
      const at = kernel.now();
      const picked = picker.pick(QUERY);
      // No lease: what the client itself has sent is not on the board either.
      if (picked.kind === 'picked') {
        kernel.log(1, picked.index);
        servers[picked.index]!.take({
          size: size(sizes),
          key: -1,
          expiresAt: Infinity,
          end: () => void latencies.push(kernel.now() - at),
        });
      }
      if (++asked < wanted) kernel.at(at + gap(), arrival);
    },
  };
  const writing = {
    happen(): void {
      for (let i = 0; i < n; i++) board[i]!.inFlight = servers[i]!.inFlight;
      if (asked < wanted) kernel.at(kernel.now() + everyMs, writing);
    },
  };
  kernel.at(0, writing);
  kernel.at(0, arrival);
  kernel.run();
  return mean(latencies.slice(Math.floor(latencies.length / 10)));
}

const AGES = [0.1, 0.5, 1, 5, 20, 50] as const;

function staleBoard(lab: Lab): Finding[] {
  const at = (strategy: () => RoutingStrategy, T: number): number[] =>
    lab.seeds.map((seed) => timeInSystem(lab, strategy(), T, seed));
  const random = at(() => lab.strategy('random'), 1);
  const rows = AGES.map((T) => ({
    T,
    two: at(() => lab.strategy('p2c'), T),
    // Not shipped.
    three: at(() => bestOf(3), T),
    all: at(() => lab.strategy('least-outstanding'), T),
  }));
  const curve = (name: string, of: (row: (typeof rows)[number]) => readonly number[]) => ({
    name,
    points: rows.map((row) => [row.T, mean(of(row))] as const),
  });
  lab.draw?.({
    title: 'B6: a board written every T, 100 servers, λ=.9',
    x: 'T',
    y: 'mean time in the system',
    logX: true,
    logY: true,
    lines: [
      curve('random', () => random),
      curve('d=2', (row) => row.two),
      curve('d=3', (row) => row.three),
      curve('shortest', (row) => row.all),
    ],
  });
  // By the table of §1.3; it has no row for .5, of which §4.4 says that the shortest still wins.
  return rows.flatMap(({ T, two, three, all }) => {
    if (T === 0.1) return rises(`T=${T} (1.54 / 2.12 / 2.67 / 9.71)`, { all, three, two, random });
    if (T === 0.5) {
      return [
        rises(`T=${T}: both far better than random`, { two, random }),
        knownToDiffer(
          rises(`T=${T}: shortest of all beats two choices`, { all, two }),
          mean(all) / mean(two),
          [0.97, 1.03],
          'here the curves cross and the two cannot be told apart; band for shortest : two',
        ),
      ];
    }
    if (T === 1) return rises(`T=${T} (2.58 / 2.96 / 3.94 / 9.71)`, { three, two, all, random });
    if (T === 5) return rises(`T=${T} (3.98 / 4.30 / 9.71 / 11.60)`, { two, three, random, all });
    if (T === 20) return rises(`T=${T} (6.99 / 9.71 / 57.94)`, { two, random, all });
    return [
      rises(`T=${T} (9.71 / 12.30 / 20.64 / 450.87)`, { random, two, three, all }),
      factor(`T=${T}: shortest of all : random (46)`, all, random, 20),
    ];
  });
}

export const STALE: readonly Experiment[] = [{ id: 'B6', what: 'stale board, n=100 λ=.9', run: staleBoard }];

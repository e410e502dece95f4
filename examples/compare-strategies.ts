/**
 * Which routing strategy suits my servers? The laboratory runs the shipped strategies, and one of your own, against a
 * workload of your own in virtual time; sixty seconds of traffic take about one.
 *
 *   npx tsx examples/compare-strategies.ts
 */
import { compare } from '../benchmarks/lab/compare.ts';
import { lognormal, poisson } from '../benchmarks/lab/sizes.ts';
import type { Workload } from '../benchmarks/lab/workloads.ts';
import type { RoutingStrategy } from '../lib/index.ts';

/** A workload: searches of 30 ms, of unlike length; one replica in four is an old machine that takes three times as long. */
const search: Workload = {
  about: 'log-normal searches of 30 ms, every fourth replica three times slower',
  of: (replicas) => {
    const servers = Array.from({ length: replicas }, (_, i) => ({
      slots: 2,
      speed: i % 4 === 0 ? 1 / 3 : 1,
    }));
    const capacity = servers.reduce((sum, { slots, speed }) => sum + slots * speed, 0);
    return { servers, size: lognormal(30), gaps: poisson((0.7 * capacity) / 30), requests: 20_000 };
  },
};

/** A strategy: stay with the one chosen before while it has nothing else to do, else take any idle one, else any. */
const stayIfIdle = (): RoutingStrategy<{ last: number }> => ({
  name: 'stay-if-idle',
  init: () => ({ last: 0 }),
  pick(state, { candidates, view, rng }) {
    const idle = candidates.filter((i) => view.inflight[i] === 0);
    const among = idle.length > 0 ? idle : candidates;
    if (!among.includes(state.last)) state.last = among[Math.floor(rng() * among.length)]!;
    return state.last;
  },
  resize: () => ({ last: 0 }),
});

const { table, recommendation } = compare({
  workload: search,
  replicas: 8,
  strategies: {
    'ewma-least-outstanding': 'ewma-least-outstanding',
    'least-outstanding': 'least-outstanding',
    'p2c-peak-ewma': 'p2c-peak-ewma',
    'round-robin': 'round-robin',
    'stay-if-idle': stayIfIdle,
  },
});
console.log(table);
console.log(`\n${recommendation}`);

import type { LoadReport, LoadReporter } from '../../lib/routing/strategies/prequal.ts';
import type { Kernel } from './kernel.ts';
import { quantile } from './metrics.ts';
import type { ServerModel } from './server-model.ts';

const REMEMBERED = 64;
const NEAREST = 9;

/** What a cooperating server would know of its own latencies: the median of recent ones at about the load it has now (Prequal). */
export class LoadHistory {
  readonly #load: number[] = [];
  readonly #latency: number[] = [];
  #next = 0;

  add(inFlight: number, latencyMs: number): void {
    this.#load[this.#next] = inFlight;
    this.#latency[this.#next] = latencyMs;
    this.#next = (this.#next + 1) % REMEMBERED;
  }

  estimate(inFlight: number): number {
    const near = this.#load
      .map((load, i) => ({ distance: Math.abs(load - inFlight), latency: this.#latency[i]! }))
      .sort((a, b) => a.distance - b.distance)
      .slice(0, NEAREST)
      .map(({ latency }) => latency)
      .sort((a, b) => a - b);
    return near.length === 0 ? 0 : quantile(near, 0.5);
  }
}

/** Probes of one client: the load is read when the probe arrives, the answer is there `probeMs` after it was sent. */
export function createReporter(
  kernel: Kernel,
  servers: ReadonlyMap<string, ServerModel>,
  history: readonly LoadHistory[],
  probeMs: number,
): LoadReporter {
  return {
    probe(id, report) {
      const server = servers.get(id);
      if (server === undefined || !server.isUp) return;
      const load: LoadReport = {
        inFlight: server.inFlight,
        latencyMs: history[server.index]!.estimate(server.inFlight),
        at: kernel.now(),
      };
      kernel.at(kernel.now() + probeMs, { happen: () => report(load) });
    },
  };
}

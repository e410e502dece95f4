import type { LoadReport, LoadReporter } from '../../lib/routing/strategies/prequal.ts';
import type { Kernel } from './kernel.ts';
import { quantile } from './metrics.ts';
import type { ServerModel } from './server-model.ts';

/** Requests a server remembers: some seconds of them. */
const REMEMBERED = 256;

/**
 * What a cooperating server knows of its own latencies. Asked at some load it tells the median of what recent requests took
 * that met that load when they came, or the nearest load there are any of (Prequal). Loads must not be mixed: a median over
 * several of them is too low right after the load has risen, because the quick ones end first.
 */
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
    const load = this.#load;
    let nearest = Infinity;
    for (let i = 0; i < load.length && nearest > 0; i++) {
      nearest = Math.min(nearest, Math.abs(load[i]! - inFlight));
    }
    const found: number[] = [];
    for (let i = 0; i < load.length; i++) {
      if (Math.abs(load[i]! - inFlight) === nearest) found.push(this.#latency[i]!);
    }
    return found.length === 0
      ? 0
      : quantile(
          found.sort((a, b) => a - b),
          0.5,
        );
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

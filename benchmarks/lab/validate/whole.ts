import { type Experiment, type Finding, type Lab, holds, within } from '../lab.ts';
import type { Scenario } from '../scenario.ts';
import { simulate } from '../simulate.ts';
import { exponential, poisson } from '../sizes.ts';
import { simulateEngine } from '../through-engine.ts';

/** Requests of each: the first is long, the others say that it is so with every kind of strategy. */
const RUNS = [
  ['round-robin', 40_000],
  ['least-outstanding', 4_000],
  ['ewma-least-outstanding', 4_000],
  ['p2c', 4_000],
] as const;

/**
 * The whole engine sends each request at the same moment to the same replica as the picker alone, so what is validated with
 * one holds for the other.
 */
async function wholeEngine(lab: Lab): Promise<Finding[]> {
  const found: Finding[] = [];
  for (const [name, full] of RUNS) {
    const requests = Math.round(full * Math.max(0.1, lab.scale));
    const scenario: Scenario = {
      servers: Array.from({ length: 10 }, () => ({})),
      strategy: () => lab.strategy(name),
      size: exponential(10),
      gaps: poisson((0.8 * 10) / 10),
      requests,
    };
    const [whole, alone] = [await simulateEngine(scenario, 37), simulate(scenario, 37)];
    found.push(
      holds(`${name}: event log`, alone.logHash, whole.logHash, whole.logHash === alone.logHash),
      holds(`${name}: all answered`, String(requests), String(whole.ok), whole.ok === requests),
      // The ends of a short run weigh more.
      within(`${name}: Little |L−λW|/λW`, 0, whole.littleError, requests < 40_000 ? 0.02 : 0.01),
    );
  }
  return found;
}

export const WHOLE: readonly Experiment[] = [
  { id: 'V37', what: 'the whole engine over fake transports', run: wholeEngine },
];

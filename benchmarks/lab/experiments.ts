import { ledger } from './kernel.ts';
import { type Experiment, type Finding, type Lab, holds } from './lab.ts';
import type { Chart } from './svg.ts';
import { table } from './table.ts';

export interface Verdict {
  readonly experiment: Experiment;
  readonly findings: readonly Finding[];
  readonly ok: boolean;
  readonly seconds: number;
  readonly seeds: readonly number[];
  /** One hash over the event logs of all its runs; undefined where nothing is logged. */
  readonly log: string | undefined;
  readonly charts: readonly Chart[];
}

/** Runs one experiment; one that throws is one that failed. */
export async function judge(experiment: Experiment, lab: Lab): Promise<Verdict> {
  const from = performance.now();
  const charts: Chart[] = [];
  let findings: readonly Finding[];
  ledger.open();
  try {
    findings = await experiment.run({ ...lab, draw: (chart) => void charts.push(chart) });
  } catch (error) {
    findings = [holds('runs', 'to its end', String(error), false)];
  }
  const log = ledger.close();
  const ok = findings.every((finding) => finding.ok || finding.note !== undefined);
  const seconds = (performance.now() - from) / 1_000;
  return { experiment, findings, ok, seconds, seeds: lab.seeds, log, charts };
}

/** How it is said: `differs` is a known difference that has its reason beside it, and is no pass. */
export function wordOf({ ok, findings }: Pick<Verdict, 'ok' | 'findings'>): 'ok' | 'differs' | 'FAILS' {
  if (!ok) return 'FAILS';
  return findings.every((finding) => finding.ok) ? 'ok' : 'differs';
}

/** What stands above the two columns of numbers. */
export interface Labels {
  readonly expected: string;
  readonly measured: string;
}

export const SIMULATED: Labels = { expected: 'expected', measured: 'simulated' };

export function verdictTable(verdicts: readonly Verdict[], { expected, measured }: Labels): string {
  const rows = verdicts.flatMap(({ experiment, findings, seconds }) =>
    findings.map((f, i) => [
      i === 0 ? experiment.id : '',
      i === 0 ? `${experiment.what} (${seconds.toFixed(1)} s)` : '',
      f.what,
      f.expected,
      f.measured,
      f.allowed,
      f.ok ? 'ok' : f.note === undefined ? 'FAILS' : `differs: ${f.note}`,
    ]),
  );
  return table(['', 'case', 'figure', expected, measured, 'allowed', ''], rows);
}

import { type Experiment, type Finding, type Lab, holds } from './lab.ts';
import { table } from './table.ts';

export interface Verdict {
  readonly experiment: Experiment;
  readonly findings: readonly Finding[];
  readonly ok: boolean;
  readonly seconds: number;
}

/** Runs one experiment; one that throws is one that failed. */
export async function judge(experiment: Experiment, lab: Lab): Promise<Verdict> {
  const from = performance.now();
  let findings: readonly Finding[];
  try {
    findings = await experiment.run(lab);
  } catch (error) {
    findings = [holds('runs', 'to its end', String(error), false)];
  }
  const ok = findings.every((finding) => finding.ok || finding.note !== undefined);
  return { experiment, findings, ok, seconds: (performance.now() - from) / 1_000 };
}

/** How it is said: `differs` is a known difference that has its reason beside it, and is no pass. */
export function wordOf({ ok, findings }: Verdict): 'ok' | 'differs' | 'FAILS' {
  if (!ok) return 'FAILS';
  return findings.every((finding) => finding.ok) ? 'ok' : 'differs';
}

export function verdictTable(verdicts: readonly Verdict[]): string {
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
  return table(['', 'case', 'figure', 'expected', 'simulated', 'allowed', ''], rows);
}

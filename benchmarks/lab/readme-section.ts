import type { Report } from './results.ts';
import { keptReport, originsOf } from './results.ts';

/** The summary of the laboratory that the README shows, drawn from the kept results. */
export const LAB_SECTIONS: Readonly<Record<string, () => string>> = { lab: labSection };

function labSection(): string {
  const [theory, behaviours] = [keptReport('validate'), keptReport('behaviours')];
  if (theory === undefined || behaviours === undefined)
    return 'Not run here: `npm run lab -- validate` and `npm run lab -- behaviours`.';
  const rows = Object.entries(behaviours.cases).map(([id, { what, findings }]) => {
    const differing = findings.filter(({ ok }) => !ok);
    const words = differing.map((f) => `${f.what}: ${f.measured} (${f.note ?? '**fails**'})`);
    return `| ${id} | ${what} | ${findings.length - differing.length} of ${findings.length} | ${words.join('; ')} |`;
  });
  return [
    `Queueing theory and exact results: ${countOf(theory)} figures of ${Object.keys(theory.cases).length} cases are met by simulated events (\`npm run lab -- validate\`; ${originsOf(theory.cases)}).`,
    '',
    ...mutants(),
    ...live(),
    `Orderings and factors (\`npm run lab -- behaviours\`; ${originsOf(behaviours.cases)}; numbers are the mean ± the standard deviation over the seeds):`,
    '',
    '| | | hold | known to differ |',
    '|---|---|---|---|',
    ...rows,
  ].join('\n');
}

function countOf({ cases }: Report): string {
  const findings = Object.values(cases).flatMap((entry) => entry.findings);
  return `${findings.filter(({ ok }) => ok).length} of ${findings.length}`;
}

/** What is broken on purpose, and whether it is noticed. */
function mutants(): string[] {
  const report = keptReport('mutants');
  if (report === undefined) return [];
  const entries = Object.values(report.cases);
  const caught = entries.filter(({ findings }) => findings.every(({ ok }) => ok)).length;
  const strategies = new Set(Object.keys(report.cases).map((id) => id.split('/')[0]));
  return [
    `Broken on purpose: ${caught} of ${entries.length} mutants of the ${strategies.size} strategies are noticed by an experiment that holds without them (\`npm run lab -- mutants\`; ${originsOf(report.cases)}).`,
    '',
  ];
}

/** Simulation beside measurement. */
function live(): string[] {
  const report = keptReport('live');
  const findings = report?.cases['live']?.findings;
  if (report === undefined || findings === undefined) return [];
  const means = findings
    .filter(({ what }) => what.endsWith(' mean'))
    .map(({ what, expected, measured }) => `${what} ${expected} ms simulated, ${measured} ms measured`);
  const verdict = findings.every(({ ok }) => ok) ? 'within 10 % and in the same order' : '**not** reproduced';
  return [
    `Real processes: the same trace through five MCP servers on stdio, one at a quarter of the speed: ${means.join('; ')}; ${verdict} (\`npm run lab -- live\`; ${originsOf(report.cases)}).`,
    '',
  ];
}

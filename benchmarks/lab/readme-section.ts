import type { Report } from './results.ts';
import { keptReport } from './results.ts';

/** The summary of the laboratory that the README shows, drawn from the kept results. */
export const LAB_SECTIONS: Readonly<Record<string, () => string>> = { lab: labSection };

function labSection(): string {
  const [theory, behaviours] = [keptReport('validate'), keptReport('behaviours')];
  if (theory === undefined || behaviours === undefined)
    return 'Not run here: `npm run lab -- validate` and `npm run lab -- behaviours`.';
  const rows = Object.entries(behaviours.cases).map(([id, { what, findings }]) => {
    const differing = findings.filter(({ ok }) => !ok);
    const words = differing.map((f) => `${f.what}: ${f.measured} (${f.note ?? 'fails'})`);
    return `| ${id} | ${what} | ${findings.length - differing.length} of ${findings.length} | ${words.join('; ')} |`;
  });
  return [
    `Queueing theory and exact results: ${countOf(theory)} figures of ${Object.keys(theory.cases).length} cases are met by simulated events (\`npm run lab -- validate\`).`,
    '',
    '| | orderings and factors (`npm run lab -- behaviours`) | hold | known to differ |',
    '|---|---|---|---|',
    ...rows,
  ].join('\n');
}

function countOf({ cases }: Report): string {
  const findings = Object.values(cases).flatMap((entry) => entry.findings);
  return `${findings.filter(({ ok }) => ok).length} of ${findings.length}`;
}

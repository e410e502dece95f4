import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { type Verdict, wordOf } from './experiments.ts';

const RESULTS = fileURLToPath(new URL('../results/', import.meta.url));

/** What a full run found, one entry an experiment. */
export interface Report {
  readonly command: string;
  readonly machine: string;
  readonly node: string;
  readonly cases: Readonly<Record<string, Entry>>;
}

interface Entry {
  readonly what: string;
  readonly verdict: string;
  readonly seconds: number;
  readonly findings: Verdict['findings'];
}

export function keptReport(command: string): Report | undefined {
  const file = `${RESULTS}lab-${command}.json`;
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Report) : undefined;
}

/** Writes `lab-<command>.json` and `.md`. Cases that were not run this time keep what was found before. */
export function saveVerdicts(
  command: string,
  order: readonly string[],
  verdicts: readonly Verdict[],
): string {
  const before: Partial<Report> = keptReport(command) ?? {};
  const now = verdicts.map((verdict): [string, Entry] => [
    verdict.experiment.id,
    {
      what: verdict.experiment.what,
      verdict: wordOf(verdict),
      seconds: Number(verdict.seconds.toFixed(1)),
      findings: verdict.findings,
    },
  ]);
  const known: Record<string, Entry> = { ...before.cases, ...Object.fromEntries(now) };
  const cases = Object.fromEntries(
    order.filter((id) => known[id] !== undefined).map((id) => [id, known[id]!]),
  );
  const cores = cpus();
  const report: Report = {
    command: `npm run lab -- ${command}`,
    machine: `${cores.length} × ${cores[0]?.model.trim() ?? 'unknown'}`,
    node: process.version,
    cases,
  };
  mkdirSync(RESULTS, { recursive: true });
  writeFileSync(`${RESULTS}lab-${command}.json`, `${JSON.stringify(report, null, 2)}\n`);
  writeFileSync(`${RESULTS}lab-${command}.md`, markdownOf(report));
  return `wrote benchmarks/results/lab-${command}.json and .md`;
}

function markdownOf({ command, machine, node, cases }: Report): string {
  const rows = Object.entries(cases).flatMap(([id, { what, findings }]) =>
    findings.map((f, i) =>
      [
        i === 0 ? id : '',
        i === 0 ? what : '',
        f.what,
        f.expected,
        f.measured,
        f.allowed,
        f.ok ? 'ok' : f.note === undefined ? '**fails**' : `differs: ${f.note}`,
      ]
        .map((cell) => cell.replaceAll('|', '\\|'))
        .join(' | '),
    ),
  );
  return [
    `\`${command}\`, Node ${node.slice(1)}, ${machine}`,
    '',
    '| | case | figure | expected | simulated | allowed | |',
    '|---|---|---|---|---|---|---|',
    ...rows.map((row) => `| ${row} |`),
    '',
  ].join('\n');
}

export function saveFile(name: string, text: string): string {
  mkdirSync(RESULTS, { recursive: true });
  writeFileSync(`${RESULTS}${name}`, text);
  return `wrote benchmarks/results/${name}`;
}

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Comparison } from './compare.ts';
import { type Labels, type Verdict, wordOf } from './experiments.ts';
import { svgOf } from './svg.ts';

const RESULTS = fileURLToPath(new URL('../results/', import.meta.url));
/** Answers to questions of the moment; not kept in the repository. */
const COMPARED = 'compare/';

/** What full runs found, one entry an experiment. */
export interface Report {
  readonly command: string;
  readonly cases: Readonly<Record<string, Entry>>;
  /** What is told beside the verdicts, as Markdown. */
  readonly more?: string;
  /** The same as numbers. */
  readonly details?: unknown;
}

/** Cases may be run one by one, so each says where it comes from. */
interface Entry {
  readonly what: string;
  readonly verdict: string;
  /** Absent in reports from before there was one. */
  readonly date?: string;
  readonly node?: string;
  readonly machine?: string;
  readonly seconds: number;
  readonly seeds?: readonly number[];
  /** One hash over the event logs of all runs of the case; absent where nothing is logged. */
  readonly log?: string;
  readonly plots?: readonly string[];
  readonly findings: Verdict['findings'];
}

export interface Kept {
  readonly command: string;
  /** All cases there are, in their order. */
  readonly order: readonly string[];
  readonly labels: Labels;
  readonly more?: string;
  readonly details?: unknown;
}

export function keptReport(command: string): Report | undefined {
  const file = `${RESULTS}lab-${command}.json`;
  if (!existsSync(file)) return undefined;
  // Before each case had an origin of its own, the report had one.
  const { node, machine, ...report } = JSON.parse(readFileSync(file, 'utf8')) as Report &
    Pick<Entry, 'node' | 'machine'>;
  const origin = { ...(node !== undefined && { node }), ...(machine !== undefined && { machine }) };
  const cases = Object.entries(report.cases).map(([id, entry]) => [id, { ...origin, ...entry }]);
  return { ...report, cases: Object.fromEntries(cases) as Report['cases'] };
}

/** Where and when a case was run, in words. */
export function originOf({ date, node, machine }: Entry): string {
  const parts = [date?.slice(0, 10), node === undefined ? undefined : `Node ${node.slice(1)}`, machine];
  return parts.filter((part) => part !== undefined).join(', ');
}

/** Writes `lab-<command>.json` and `.md`. Cases that were not run this time keep what was found before, and its origin. */
export function saveVerdicts(
  { command, order, labels, more, details }: Kept,
  verdicts: readonly Verdict[],
): string {
  const before = keptReport(command)?.cases ?? {};
  const cores = cpus();
  const date = new Date().toISOString();
  const machine = `${cores.length} × ${cores[0]?.model.trim() ?? 'unknown'}`;
  const now = verdicts.map((verdict): [string, Entry] => {
    const { experiment, seconds, seeds, log, findings } = verdict;
    const plots = savePlots(command, verdict);
    const entry: Entry = {
      what: experiment.what,
      verdict: wordOf(verdict),
      date,
      node: process.version,
      machine,
      seconds: Number(seconds.toFixed(1)),
      seeds,
      ...(log !== undefined && { log }),
      ...(plots.length > 0 && { plots }),
      findings,
    };
    return [experiment.id, entry];
  });
  const known: Record<string, Entry> = { ...before, ...Object.fromEntries(now) };
  const report: Report = {
    command: `npm run lab -- ${command}`,
    cases: Object.fromEntries(order.filter((id) => known[id] !== undefined).map((id) => [id, known[id]!])),
    ...(more !== undefined && { more }),
    ...(details !== undefined && { details }),
  };
  saveFile(`lab-${command}.json`, `${JSON.stringify(report, null, 2)}\n`);
  saveFile(`lab-${command}.md`, markdownOf(report, labels));
  return `wrote benchmarks/results/lab-${command}.json and .md`;
}

function savePlots(command: string, { experiment, charts }: Verdict): string[] {
  return charts.map((chart, i) => {
    const file = `${command}-${experiment.id.toLowerCase()}${i === 0 ? '' : `-${i + 1}`}.svg`;
    saveFile(file, svgOf(chart));
    return file;
  });
}

function markdownOf({ command, cases, more }: Report, labels: Labels): string {
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
  const plots = Object.entries(cases).flatMap(([id, { plots = [] }]) =>
    plots.map((file) => `![${id}](${file})`),
  );
  return [
    `\`${command}\`, ${originsOf(cases)}`,
    '',
    `| | case | figure | ${labels.expected} | ${labels.measured} | allowed | |`,
    '|---|---|---|---|---|---|---|',
    ...rows.map((row) => `| ${row} |`),
    ...(more === undefined ? [] : ['', more]),
    ...(plots.length === 0 ? [] : ['', ...plots]),
    '',
  ].join('\n');
}

/** The origin of most cases, and those that have another. */
export function originsOf(cases: Report['cases']): string {
  const byOrigin = new Map<string, string[]>();
  for (const [id, entry] of Object.entries(cases)) {
    const origin = originOf(entry);
    byOrigin.set(origin, [...(byOrigin.get(origin) ?? []), id]);
  }
  const [most, ...others] = [...byOrigin].sort((a, b) => b[1].length - a[1].length);
  if (most === undefined) return '';
  return [most[0], ...others.map(([origin, ids]) => `${ids.join(', ')}: ${origin}`)].join('; ');
}

/** JSON, Markdown and plot of a comparison, named after what was asked. */
export function saveComparison(name: string, comparison: Comparison): string {
  const { title, seeds, strategies, table, svg, recommendation } = comparison;
  const facts = { title, date: new Date().toISOString(), node: process.version, seeds };
  const text = ['```text', table, '```', '', recommendation, '', `![${title}](${name}.svg)`, ''];
  saveFile(
    `${COMPARED}${name}.json`,
    `${JSON.stringify({ ...facts, strategies, recommendation }, null, 2)}\n`,
  );
  saveFile(`${COMPARED}${name}.md`, [`${title}; seeds ${seeds.join(', ')}`, '', ...text].join('\n'));
  saveFile(`${COMPARED}${name}.svg`, svg);
  return `wrote benchmarks/results/${COMPARED}${name}.json, .md and .svg`;
}

function saveFile(name: string, text: string): void {
  mkdirSync(`${RESULTS}${name.includes('/') ? COMPARED : ''}`, { recursive: true });
  writeFileSync(`${RESULTS}${name}`, text);
}

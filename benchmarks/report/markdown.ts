import type { Origin } from '../support/results.ts';
import { figure, type Verdict } from '../support/verdict.ts';

export function markdownTable(head: readonly string[], rows: ReadonlyArray<readonly string[]>): string {
  const line = (cells: readonly string[]): string =>
    `| ${head.map((_, i) => (cells[i] ?? '').replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n');
}

export function verdictsMarkdown(verdicts: readonly Verdict[]): string {
  return markdownTable(
    ['goal', 'measured', 'spread', ''],
    verdicts.map(({ goal, measured, spread, held }) => [
      goal,
      figure(measured),
      spread,
      held ? 'held' : '**missed**',
    ]),
  );
}

/** One sentence: machine and command. */
export function originSentence({ command, at, cpu, cores, node, load1 }: Origin): string {
  return `\`${command}\`, ${at}, ${cores} cores (${cpu}), Node ${node}, load ${load1} when it began.`;
}

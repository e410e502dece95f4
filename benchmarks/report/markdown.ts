import type { PeersResult } from '../peers/peers.ts';
import type { Kept, Origin } from '../support/results.ts';
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

/** Two versions of Node are named in such a report: which is which. */
export function peersNodeSentence({ machine, origin, rounds }: Kept<PeersResult>): string {
  const only = machine.node === origin.node ? '' : `; Node ${origin.node} only started them`;
  return `Each library and its eight stdio servers ran on Node ${machine.node}${only}. Medians, and in brackets the least and the most, of ${rounds} ${rounds === 1 ? 'round' : 'rounds'}, for every column.`;
}

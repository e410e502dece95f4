import type { CallResult } from '../call/call.ts';
import { callTable } from '../call/columns.ts';
import { TRANSPORTS } from '../call/contest.ts';
import type { ExtremesResult } from '../extremes/extremes.ts';
import type { InsideResult } from '../inside/inside.ts';
import { insideLabel } from '../inside/labels.ts';
import { svgOf, type Line } from '../lab/svg.ts';
import { PEER_HEAD, peerCells, peerNotes } from '../peers/cells.ts';
import type { PeersResult } from '../peers/peers.ts';
import { PROFILE_HEAD, profileCells, type ProfileResult } from '../profile/profile.ts';
import { recoverySentence, START_HEAD, startCells } from '../start/cells.ts';
import type { StartResult } from '../start/start.ts';
import type { Kept } from '../support/results.ts';
import { withSpread, type Verdict } from '../support/verdict.ts';
import { markdownTable, originSentence, peersNodeSentence, verdictsMarkdown } from './markdown.ts';

/** What is written beside the JSON of a result: a Markdown document, and plots by file name. */
export interface Report {
  readonly markdown: string;
  readonly plots: Readonly<Record<string, string>>;
}

export const REPORTS = { call, extremes, inside, peers, profile, start };

function call(result: Kept<CallResult>): Report {
  const { head, body } = callTable(result.rows, { tuning: false });
  const plots = TRANSPORTS.flatMap((transport) => {
    const lines = linesOf(
      result.rows.filter((row) => row.transport === transport),
      ({ contender }) => contender,
      ({ inFlight, perSecond }) => [inFlight, perSecond.median],
    );
    const chart = {
      title: `Calls per second, ${transport}`,
      x: 'in flight',
      y: 'calls/s',
      logX: true,
      logY: true,
    };
    return lines.length === 0 ? [] : [[`call-${transport}.svg`, svgOf({ ...chart, lines })] as const];
  });
  return {
    markdown: documentOf('What a call costs', result, [
      markdownTable(head, body),
      verdictsMarkdown(result.goals),
      ...plots.map(([file]) => `![${file}](${file})`),
    ]),
    plots: Object.fromEntries(plots),
  };
}

function extremes(result: Kept<ExtremesResult>): Report {
  const names = [...new Set(result.rows.flatMap(({ figures }) => Object.keys(figures)))];
  const rows = result.rows.map(({ what, figures }) => [
    what,
    ...names.map((name) => (figures[name] === undefined ? '' : withSpread(figures[name]))),
  ]);
  const parts = [markdownTable(['', ...names], rows), verdictsMarkdown(result.goals)];
  return { markdown: documentOf('Extremes', result, parts), plots: {} };
}

function inside(result: Kept<InsideResult>): Report {
  const rows = result.rows.map(({ part, what, value }) => [part, insideLabel(what), withSpread(value)]);
  const picks = result.rows.flatMap(({ part, what, value }) => {
    const [strategy = '', replicas = ''] = what.split(', ');
    return part.startsWith('pick') ? [{ strategy, replicas: Number(replicas), ns: value.median }] : [];
  });
  const lines = linesOf(
    picks,
    ({ strategy }) => strategy,
    ({ replicas, ns }) => [replicas, ns],
  );
  const chart = { title: 'A pick', x: 'replicas', y: 'ns', logX: true, logY: true, lines };
  const parts = [
    markdownTable(['part', 'what', 'median (spread)'], rows),
    verdictsMarkdown(result.goals),
    '![inside-picks.svg](inside-picks.svg)',
  ];
  return {
    markdown: documentOf('Inside the engine', result, parts),
    plots: { 'inside-picks.svg': svgOf(chart) },
  };
}

function peers(result: Kept<PeersResult>): Report {
  const rows = result.rows.map((row) => peerCells(row, result.patienceMs));
  return {
    markdown: documentOf('Beside other libraries', result, [
      peersNodeSentence(result),
      markdownTable(PEER_HEAD, rows),
      ...peerNotes(result.rows),
    ]),
    plots: {},
  };
}

function profile(result: Kept<ProfileResult>): Report {
  const table = markdownTable(PROFILE_HEAD, result.rows.map(profileCells));
  const how =
    'Processor time of the client first without the profiler, then (microseconds a call) by the function on top of the stack. `socket` and `dispatch` are bounds of HTTP: a socket with a request written by hand, and the lowest door of undici with a handler that keeps the body.';
  const title = '# Where the time of a call goes';
  return { markdown: `${[title, originSentence(result.origin), how, table].join('\n\n')}\n`, plots: {} };
}

function start(result: Kept<StartResult>): Report {
  const spawns = Object.entries(result.spawns).map(([what, count]) => `${what}: ${count}`);
  return {
    markdown: documentOf('Starting', result, [
      markdownTable(START_HEAD, result.rows.map(startCells)),
      recoverySentence(result.recovery),
      `Processes per server: ${spawns.join('; ')}.`,
      verdictsMarkdown(result.goals),
    ]),
    plots: {},
  };
}

/** Some have no goals: then none can be held. */
interface Judged {
  readonly goals?: readonly Verdict[];
  readonly missed: readonly string[];
}

function documentOf(
  title: string,
  { origin, goals, missed }: Kept<Judged>,
  parts: readonly string[],
): string {
  const missing = missed.map((line) => `- missed: ${line}`).join('\n');
  const end = missing === '' && goals !== undefined ? 'All goals are held.' : missing;
  return `${[`# ${title}`, originSentence(origin), ...parts, ...(end === '' ? [] : [end])].join('\n\n')}\n`;
}

function linesOf<T>(
  rows: readonly T[],
  name: (row: T) => string,
  point: (row: T) => readonly [number, number],
): readonly Line[] {
  const lines = new Map<string, Array<readonly [number, number]>>();
  for (const row of rows) lines.set(name(row), [...(lines.get(name(row)) ?? []), point(row)]);
  return [...lines].map(([of, points]) => ({ name: of, points }));
}

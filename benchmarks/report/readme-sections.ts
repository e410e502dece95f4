import type { CallResult } from '../call/call.ts';
import { TRANSPORTS } from '../call/contest.ts';
import type { ExtremesResult } from '../extremes/extremes.ts';
import type { InsideResult } from '../inside/inside.ts';
import { PEER_HEAD, peerCells, peerNotes } from '../peers/cells.ts';
import type { PeersResult } from '../peers/peers.ts';
import { recoverySentence, START_HEAD, startCells } from '../start/cells.ts';
import type { StartResult } from '../start/start.ts';
import { keptResult, type Kept } from '../support/results.ts';
import { figure, thousands, withSpread, type Verdict } from '../support/verdict.ts';
import { markdownTable, originSentence, peersNodeSentence } from './markdown.ts';

const CONTENDERS = [
  ['bare', 'bare wire'],
  ['sdk2', 'official client 2.x'],
  ['sdk1', 'official client 1.x'],
  ['troupe', 'mcp-troupe'],
  ['troupe-heavy', 'mcp-troupe, 20 rules and a file audit'],
] as const;

/** The summaries that the README shows, drawn from the kept results. */
export const BENCH_SECTIONS: Readonly<Record<string, () => string>> = {
  'bench-call': () => drawn('call', callSection),
  'bench-start': () => drawn('start', startSection),
  'bench-extremes': () => drawn('extremes', extremesSection),
  'bench-inside': () => drawn('inside', insideSection),
  'bench-peers': () => drawn('peers', peersSection),
};

function drawn<T>(kind: string, section: (result: Kept<T>) => string): string {
  const result = keptResult<T>(kind);
  return result === undefined
    ? `Not measured here: \`npm run bench -- ${kind}\`.`
    : `${section(result)}\n\n${originSentence(result.origin)}`;
}

function callSection({ rows, goals }: Kept<CallResult>): string {
  const table = CONTENDERS.map(([contender, name]) => [
    name,
    ...TRANSPORTS.flatMap((transport) => {
      const row = rows.find(
        (r) => r.transport === transport && r.contender === contender && r.inFlight === 256,
      );
      return row === undefined
        ? ['', '']
        : [
            `${thousands(row.perSecond.median)} (${figure(row.timesSdk2?.median ?? Number.NaN)} ×)`,
            figure(row.cpuUs.median),
          ];
    }),
  ]);
  const head = [
    '256 calls in flight, 100 bytes',
    ...TRANSPORTS.flatMap((t) => [`${t}: calls/s (× client 2.x)`, 'CPU µs']),
  ];
  return [markdownTable(head, table), goalsSentence(goals)].join('\n\n');
}

function goalsSentence(goals: readonly Verdict[]): string {
  const missed = goals.filter(({ held }) => !held);
  const held = `${goals.length - missed.length} of ${goals.length} goals are held`;
  const list = missed.map(({ goal, measured }) => `${goal} (it is ${figure(measured)})`);
  return missed.length === 0 ? `${held}.` : `${held}; missed: ${list.join('; ')}.`;
}

/** Which rows of the extremes are shown here, by how they begin. */
const EXTREMES: ReadonlyArray<readonly [row: RegExp, text: string]> = [
  [/^heap of an idle stdio connection/, 'an idle connection with 20 tools, kB of heap'],
  [/^an answer of 9 MB over stdio, ms/, 'an answer of 9 MB over stdio, ms'],
  [/^10000 calls over stdio.*listeners/, '10 000 calls under one signal, stdio: most listeners at once'],
  [/^10000 calls over http.*listeners/, 'the same over HTTP'],
  [/^a lone echo, nothing beside it, p50/, 'a lone echo, p50 µs'],
  [/^a lone echo beside .*, p50/, 'the same beside 256 calls in flight on another server, p50 µs'],
];

function extremesSection({ rows, goals }: Kept<ExtremesResult>): string {
  const contenders = CONTENDERS.filter(([contender]) => rows.some(({ figures }) => contender in figures));
  const table = EXTREMES.map(([what, text]) => {
    const row = rows.find((r) => what.test(r.what));
    if (row === undefined) throw new Error(`no row of the extremes is ${String(what)}`);
    return [
      text,
      ...contenders.map(([contender]) => {
        const spread = row.figures[contender];
        return spread === undefined ? '' : withSpread(spread);
      }),
    ];
  });
  return [markdownTable(['', ...contenders.map(([, name]) => name)], table), goalsSentence(goals)].join(
    '\n\n',
  );
}

function startSection({ rows, recovery, goals }: Kept<StartResult>): string {
  return [
    markdownTable(START_HEAD, rows.map(startCells)),
    recoverySentence(recovery),
    goalsSentence(goals),
  ].join('\n\n');
}

const LIST_FIGURES = [
  ['coldMs', 'cold (connected, nothing listed yet), ms'],
  ['firstCpuMs', 'every server asked again, the first time, CPU ms'],
  ['refreshCpuMs', 'later, CPU ms'],
  ['knownMs', 'known, ms'],
  ['changeCpuMs', 'one change, CPU ms'],
  ['afterChangeCpuMs', 'list after it, CPU ms'],
  ['bytes', 'bytes'],
  ['tokens', 'tokens, about'],
] as const;

function insideSection({ rows, goals }: Kept<InsideResult>): string {
  const lists = [...new Set(rows.map(({ part }) => part).filter((part) => part.startsWith('list of')))];
  const value = (part: string, what: string): string => {
    const row = rows.find((r) => r.part === part && r.what === what);
    return row === undefined ? '' : figure(row.value.median);
  };
  const table = lists.map((part) => [part, ...LIST_FIGURES.map(([what]) => value(part, what))]);
  return [
    markdownTable(['tools of all servers', ...LIST_FIGURES.map(([, text]) => text)], table),
    goalsSentence(goals),
  ].join('\n\n');
}

function peersSection(result: Kept<PeersResult>): string {
  const table = result.rows.map((row) => peerCells(row, result.patienceMs));
  return [markdownTable(PEER_HEAD, table), ...peerNotes(result.rows), peersNodeSentence(result)].join('\n\n');
}

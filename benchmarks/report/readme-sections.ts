import type { CallResult } from '../call/call.ts';
import { TRANSPORTS } from '../call/contest.ts';
import type { InsideResult } from '../inside/inside.ts';
import { PEER_HEAD, peerCells, type PeersResult } from '../peers/peers.ts';
import type { StartResult } from '../start/start.ts';
import { keptResult, type Kept } from '../support/results.ts';
import { ms } from '../support/table.ts';
import { figure, thousands, type Verdict } from '../support/verdict.ts';
import { markdownTable, originSentence } from './markdown.ts';

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

function startSection({ rows, recovery }: Kept<StartResult>): string {
  const table = rows.map((row) => [row.what, ms(row.engineMs), ms(row.bareMs), row.ratio.toFixed(2)]);
  return [
    markdownTable(
      [
        'ready: handshake and tools listed',
        'mcp-troupe, ms',
        'bare wire in parallel (or as said), ms',
        'ratio',
      ],
      table,
    ),
    `After \`kill -9\` a call made at once answers in ${ms(recovery.callMs)} ms, of which ${ms(recovery.backoffMs)} ms are the backoff.`,
  ].join('\n\n');
}

const LIST_FIGURES = [
  ['refreshCpuMs', 'every server asked, CPU ms'],
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

function peersSection({ rows, patienceMs, machine }: Kept<PeersResult>): string {
  const table = rows.map((row) => peerCells(row, patienceMs));
  return [markdownTable(PEER_HEAD, table), `Eight stdio servers, Node ${machine.node}.`].join('\n\n');
}

import { ms } from '../support/table.ts';
import { withSpread } from '../support/verdict.ts';
import type { StartResult, StartRow } from './start.ts';

export const START_HEAD = [
  'ready: handshake and tools listed',
  'mcp-troupe, ms',
  'its median server, ms',
  'bare wire in parallel (or as said), ms',
  'ratio',
  'rounds',
] as const;

export function startCells(row: StartRow): readonly string[] {
  return [
    row.what,
    withSpread(row.engineMs, ms),
    withSpread(row.medianServerMs, ms),
    withSpread(row.againstMs, ms),
    withSpread(row.ratio),
    String(row.rounds),
  ];
}

export function recoverySentence({ connectedMs, callMs, backoffMs }: StartResult['recovery']): string {
  return `After \`kill -9\`: connected again in ${withSpread(connectedMs, ms)} ms, a call made at once answers in ${withSpread(callMs, ms)} ms, of which ${withSpread(backoffMs, ms)} ms are the backoff.`;
}

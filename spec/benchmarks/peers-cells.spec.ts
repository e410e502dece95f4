import { describe, expect, it } from '@jest/globals';
import { PEER_HEAD, peerCells, peerNotes } from '../../benchmarks/peers/cells.ts';
import type { Later, PeerFigures, PeerRow } from '../../benchmarks/peers/peers.ts';
import { spreadOf } from '../../benchmarks/support/verdict.ts';

const worksAfter = (ms: number): Later => ({ tries: [{ ok: true, ms }], besideOk: true });
const fails: Later = { tries: [{ ok: false, ms: 1, error: 'closed' }], besideOk: true };
const crashed = (later: Later): PeerFigures['crash'][number] => ({ failedMs: 10, error: '', ran: 1, later });

function row(changes: Partial<PeerFigures> = {}): PeerRow {
  const measured = {
    startMs: spreadOf([1, 2, 3]),
    spawns: spreadOf([8, 8, 8]),
    perSecond: spreadOf([100]),
    cpuUs: spreadOf([10]),
    cpuOfHostOnly: false,
    hangMs: [500, 600, 700],
    crash: [crashed(fails)],
    kill: [{ later: worksAfter(100) }],
    ...changes,
  };
  return { name: 'some', version: '1.0.0', measured };
}

function cell(head: RegExp, of: PeerRow): string | undefined {
  return peerCells(of, 15_000)[PEER_HEAD.findIndex((text) => head.test(text))];
}

describe('the table of the peers', () => {
  it('tells the spread of what was timed, and counts as they are', () => {
    expect(cell(/ready/, row())).toBe('2.00 (1.00–3.00)');
    expect(cell(/processes/, row())).toBe('8');
    expect(cell(/hangs/, row())).toBe('600 (500–700) ms');
  });

  it('says how often where rounds differ', () => {
    expect(cell(/hangs/, row({ hangMs: [500, null, 700] }))).toBe(
      '500 (500–700) ms (2 of 3); not within 15 s (1 of 3)',
    );
    const kill = [{ later: worksAfter(100) }, { later: fails }, { later: worksAfter(200) }];
    expect(cell(/kill/, row({ kill }))).toBe(
      'the first works, 100 (100–200) ms (2 of 3); fail (“closed”) (1 of 3)',
    );
  });

  it('says once what is the same in all rounds', () => {
    expect(cell(/hangs/, row({ hangMs: [null, null] }))).toBe('not within 15 s');
    expect(cell(/after a crash/, row({ crash: [crashed(fails), crashed(fails)] }))).toBe('fail (“closed”)');
  });

  it('marks processor time that is not all of it, and says what the mark means', () => {
    const hub = row({ cpuOfHostOnly: true });
    expect(cell(/CPU/, hub)).toBe('10.0 (10.0–10.0) ¹');
    expect(peerNotes([row(), hub])).toEqual([
      "¹ some: processor time of the host's side alone; that of the other process is not in it.",
    ]);
    expect(peerNotes([row()])).toEqual([]);
  });

  it('says why there are no numbers', () => {
    expect(peerCells({ name: 'some', version: '1.0.0', failed: 'start: no' }, 15_000)).toEqual([
      'some',
      '1.0.0',
      'failed: start: no',
    ]);
  });
});

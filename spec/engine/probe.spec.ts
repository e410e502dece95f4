import { describe, expect, it } from '@jest/globals';
import { TroupeError } from '../../lib/core/errors.ts';
import type { Json } from '../../lib/core/json-rpc.ts';
import { watchHealth, type ProbeResult } from '../../lib/engine/probe.ts';
import type { Session, SessionRequest } from '../../lib/mcp/session/session.ts';
import { createVirtualClock } from '../support/virtual-clock.ts';

function setting(answer: () => Promise<Json>, era: 'legacy' | 'modern' = 'legacy') {
  const clock = createVirtualClock();
  const asked: string[] = [];
  const results: ProbeResult[] = [];
  const dead: TroupeError[] = [];
  const session = {
    era,
    heard: 0,
    request(request: SessionRequest) {
      asked.push(request.method);
      const wait = request.cancellation.waiting();
      return Promise.race([answer(), wait.promise]).finally(wait.done);
    },
  };
  const end = watchHealth({
    clock,
    server: 's',
    connection: 's',
    session: session as unknown as Session,
    intervalMs: 1_000,
    timeoutMs: 100,
    failures: 3,
    onResult: (result) => results.push(result),
    onDead: (error) => dead.push(error),
  });
  return { clock, asked, results, dead, session, end };
}

describe('watchHealth', () => {
  it('asks a silent session whether it lives, in the way of its era', async () => {
    const legacy = setting(() => Promise.resolve({}));
    await legacy.clock.advance(1_000);
    expect(legacy.asked).toEqual(['ping']);
    expect(legacy.results).toMatchObject([{ ok: true }]);
    const modern = setting(() => Promise.resolve({}), 'modern');
    await modern.clock.advance(1_000);
    expect(modern.asked).toEqual(['server/discover']);
  });

  it('does not ask one that is heard of', async () => {
    const { clock, asked, session } = setting(() => Promise.resolve({}));
    for (let i = 0; i < 5; i += 1) {
      session.heard += 1;
      await clock.advance(1_000);
    }
    expect(asked).toEqual([]);
  });

  it('gives up after so many failures in a row', async () => {
    const { clock, dead, results } = setting(() => new Promise(() => {}));
    await clock.advance(1_100);
    expect(dead).toEqual([]);
    await clock.advance(1_000);
    expect(results.map((r) => r.ok)).toEqual([false, false, false]);
    expect(dead).toMatchObject([{ code: 'connection_lost', server: 's' }]);
    expect(clock.armed).toBe(0);
  });

  it('takes an error of the server for a sign of life', async () => {
    const { clock, dead } = setting(() =>
      Promise.reject(new TroupeError('unsupported', 'no ping here', { delivery: 'answered' })),
    );
    await clock.advance(10_000);
    expect(dead).toEqual([]);
  });

  it('leaves nothing behind when it is ended, also in the middle of a question', async () => {
    const { clock, end, results } = setting(() => new Promise(() => {}));
    await clock.advance(1_050);
    end();
    await clock.flush();
    expect(clock.armed).toBe(0);
    expect(results).toEqual([]);
  });
});

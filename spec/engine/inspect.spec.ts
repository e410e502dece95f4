import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import type { Engine } from '../../lib/engine/contract.ts';
import { engines, failureOf } from '../support/engines.ts';
import { createScriptedPeer, type ScriptedPeer } from '../support/scripted-peer.ts';
import { temporaryDirectories } from '../support/temp-dir.ts';

type Stages = Readonly<Record<string, number>>;
const CONTENT = { content: [] };

function echo(): ScriptedPeer {
  const peer = createScriptedPeer({ tools: ['echo'] });
  peer.answer('tools/call', CONTENT);
  return peer;
}

/** By how much each stage has grown meanwhile; those that have not are left out. */
async function grown(engine: Engine, work: () => Promise<unknown>): Promise<Stages> {
  const before = engine.inspect()['stages'] as Stages;
  await work();
  const after = engine.inspect()['stages'] as Stages;
  return Object.fromEntries(
    Object.entries(after).flatMap(([stage, count]) => {
      const more = count - (before[stage] ?? Number.NaN);
      return more === 0 ? [] : [[stage, more]];
    }),
  );
}

describe('the stages that inspect() shows', () => {
  const make = engines();
  const directory = temporaryDirectories();

  it('grow by one for every call, each in its own stage', async () => {
    const engine = make({
      servers: { desk: { transport: () => echo().transport } },
      policy: { rules: [{ effect: 'deny', tools: ['other'] }] },
      audit: join(directory(), 'audit.jsonl'),
    });
    engine.on('request.settled', () => {});
    await engine.start();
    await engine.listTools();
    const calls = 25;
    const stages = await grown(engine, () =>
      Promise.all(Array.from({ length: calls }, () => engine.callTool('desk__echo'))),
    );
    const each = ['deadline', 'audit', 'policy', 'retry', 'pick', 'slot', 'breaker', 'event'];
    expect(stages).toEqual(Object.fromEntries(each.map((stage) => [stage, calls])));
  });

  it('stand still where a stage is not configured, or nobody listens', async () => {
    const engine = make({ servers: { desk: { transport: () => echo().transport, breaker: false } } });
    await engine.start();
    expect(await grown(engine, () => engine.callTool('desk__echo'))).toEqual({
      deadline: 1,
      retry: 1,
      pick: 1,
      slot: 1,
    });
  });

  it('show how far a refused request came', async () => {
    const engine = make({
      servers: { desk: { transport: () => echo().transport } },
      policy: { rules: [{ effect: 'deny', operations: ['tools.call'] }] },
    });
    await engine.start();
    const stages = await grown(engine, () => failureOf(engine.callTool('desk__echo')));
    expect(stages).toEqual({ deadline: 1, policy: 1 });
  });

  it('tell attempts from operations', async () => {
    const engine = make({ servers: { desk: { transport: () => peer.transport } } });
    const peer = createScriptedPeer({ tools: ['echo'] });
    await engine.start();
    const stages = await grown(engine, async () => {
      const call = engine.callTool('desk__echo', {}, { idempotent: true });
      await peer.expectRequest('tools/call').die();
      await peer.expectRequest('tools/call').reply(CONTENT);
      await call;
    });
    expect(stages).toMatchObject({ deadline: 1, retry: 1, pick: 2, slot: 2 });
  });
});

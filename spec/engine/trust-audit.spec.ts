import { existsSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import type { EngineConfig } from '../../lib/config/config.ts';
import { createEngine } from '../../lib/engine/engine.ts';
import { verifyAudit } from '../../lib/index.ts';
import { engines, failureOf, LINUX, textOf } from '../support/engines.ts';
import { startMiniHttp } from '../support/mini-http.mjs';
import { createScriptedPeer } from '../support/scripted-peer.ts';
import { temporaryDirectories } from '../support/temp-dir.ts';

const KEY = 'a key of sixteen bytes or more';
const ALICE = { principal: { id: 'alice', tenant: 'acme' } } as const;

interface AuditLine {
  readonly kind: 'intent' | 'outcome' | 'event';
  readonly event?: string;
  readonly request?: number;
  readonly method?: string;
  readonly server?: string;
  readonly target?: string;
  readonly ok?: boolean;
  readonly code?: string;
  readonly rule?: string;
  readonly reason?: string;
  readonly principal?: string;
}

const linesOf = (path: string): AuditLine[] =>
  readFileSync(path, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as AuditLine);

describe('the audit trail of an engine', () => {
  const make = engines();
  const directory = temporaryDirectories();

  it.each(['2025-11-25', '2026-07-28'])(
    'has one intent before and one outcome after every operation of every verb: %s',
    async (revision) => {
      const server = await startMiniHttp({ revision });
      const path = join(directory(), 'audit.jsonl');
      try {
        const engine = make({
          servers: { mini: { url: server.url } },
          audit: { file: path, key: KEY },
          policy: [
            { effect: 'allow', principals: ['alice'] },
            { id: 'no-fail', effect: 'deny', tools: ['fail'] },
          ],
        });
        await engine.start();
        let made = 0;
        const count = async (work: Promise<unknown>): Promise<void> => {
          made += 1;
          await work.catch(() => {});
        };
        const before = server.seen.length;
        await count(engine.listTools(ALICE));
        // The intent of a list stands before what was sent for it.
        expect(linesOf(path).find(({ kind }) => kind === 'intent')).toMatchObject({ method: 'tools/list' });
        expect(server.seen.length).toBeGreaterThanOrEqual(before);
        await count(engine.listResources(ALICE));
        await count(engine.listResourceTemplates(ALICE));
        await count(engine.listPrompts(ALICE));
        await count(engine.listTools({ ...ALICE, servers: ['nowhere'] }));
        await count(engine.callTool('mini__echo', { message: 'hunter2hunter2' }, ALICE));
        await count(engine.callTool('mini__fail', {}, ALICE));
        await count(engine.callTool('mini__unheard', {}, ALICE));
        await count(engine.callTool('mini__hang', {}, { ...ALICE, timeoutMs: 200 }));
        await count(engine.callTool('echo', {}, { ...ALICE, servers: ['nowhere'] }));
        await count(engine.readResource('mini://a', ALICE));
        await count(engine.readResource('mini://nothing', ALICE));
        await count(engine.getPrompt('mini__greet', { who: 'x' }, ALICE));
        await count(
          engine.complete({ type: 'ref/prompt', name: 'mini__greet' }, { name: 'who', value: 'a' }, ALICE),
        );
        made += 1;
        const subscription = await engine.subscribeResource('mini://a', () => {}, ALICE);
        await subscription.close();
        await count(engine.subscribeResource('mini://a', () => {}, { principal: 'bob' }));
        await count(engine.request({ method: 'vendor/thing', params: { x: 1 } }, ALICE));
        await count(engine.request({ method: 'tools/list', server: 'mini' }, ALICE));
        await engine.batch(
          [
            { method: 'tools/call', params: { name: 'mini__echo', arguments: { message: 'x' } } },
            { method: 'tools/call', params: { name: 'mini__unheard' } },
          ],
          ALICE,
        );
        made += 2;
        await engine.aggregate({ method: 'tools/list' }, ALICE);
        made += 1;
        const aborter = new AbortController();
        const aborted = engine.callTool('mini__hang', {}, { ...ALICE, signal: aborter.signal });
        aborter.abort();
        await count(aborted);

        const lines = linesOf(path);
        const pairs = new Map<number, string[]>();
        for (const { kind, request } of lines)
          if (kind !== 'event') pairs.set(request ?? 0, [...(pairs.get(request ?? 0) ?? []), kind]);
        expect([...pairs.values()].filter((kinds) => kinds.join() !== 'intent,outcome')).toEqual([]);
        expect(pairs.size).toBe(made);
        expect(lines.find(({ event }) => event === 'denied')).toMatchObject({
          rule: 'no-fail',
          principal: 'alice',
        });
        expect(
          lines.filter(({ target, kind }) => target === 'mini__unheard' && kind === 'intent'),
        ).toHaveLength(2);
        expect(lines.filter(({ event }) => event === 'connecting' || event === 'connected')).toHaveLength(2);
        expect(readFileSync(path, 'utf8')).not.toContain('hunter2');
        expect(await engine.verifyAudit()).toMatchObject({ ok: true, records: lines.length });
        await engine.stop({ graceMs: 0 });
        expect(await verifyAudit(path, { key: KEY })).toMatchObject({ ok: true });
        expect(existsSync(`${path}.lock`)).toBe(false);
      } finally {
        await server.close();
      }
    },
  );

  it('has an operation that an interceptor of the host ends, or loses', async () => {
    const path = join(directory(), 'audit.jsonl');
    const peer = createScriptedPeer({ tools: ['echo'] });
    const engine = make({
      servers: { desk: { transport: () => peer.transport } },
      audit: path,
      interceptors: [
        (next) => (request) => {
          if (request.target === 'mine') return Promise.resolve({ content: [] });
          return request.target === 'lost' ? new Promise(() => {}) : next(request);
        },
      ],
    });
    await engine.start();
    await engine.callTool('mine');
    await failureOf(engine.callTool('lost', {}, { timeoutMs: 100 }));
    expect(linesOf(path).filter(({ kind }) => kind !== 'event')).toMatchObject([
      { kind: 'intent', target: 'mine' },
      { kind: 'outcome', ok: true },
      { kind: 'intent', target: 'lost' },
      { kind: 'outcome', ok: false, code: 'deadline_exceeded' },
    ]);
  });

  it('tells of approvals, of what servers ask, of stand-ins and of look-alikes', async () => {
    const path = join(directory(), 'audit.jsonl');
    const peer = createScriptedPeer({ tools: ['send_mail'] });
    const twin = createScriptedPeer({ tools: ['send-mail'] });
    peer.answer('tools/call', async () => ({
      content: [{ type: 'text', text: JSON.stringify(await peer.request('roots/list')) }],
    }));
    const engine = make({
      servers: { desk: { transport: () => peer.transport }, twin: { transport: () => twin.transport } },
      audit: path,
      host: { roots: [{ uri: 'file:///srv' }] },
      pinning: { firstSight: 'approve' },
    });
    await engine.start();
    await engine.listTools();
    await engine.approve('desk');
    await failureOf(engine.approve('desk', 'nothing'));
    expect(await textOf(engine.callTool('desk__send_mail'))).toContain('file:///srv');
    const events = linesOf(path).flatMap(({ event }) => (event === undefined ? [] : [event]));
    for (const event of [
      'audit.opened',
      'connecting',
      'connected',
      'quarantined',
      'approving',
      'approved',
      'approval failed',
      'server asks',
      'server asked',
      'look-alike',
    ])
      expect(events).toContain(event);
    expect(events.indexOf('approving')).toBeLessThan(events.indexOf('approved'));
    expect(events.indexOf('server asks')).toBeLessThan(events.indexOf('server asked'));
  });

  it('tells of the use of credentials, not of the credentials', async () => {
    const server = await startMiniHttp({ revision: '2025-11-25' });
    const path = join(directory(), 'audit.jsonl');
    try {
      const token = 'token-1234567890-abcdef';
      const engine = make({
        servers: { mini: { url: server.url, auth: { bearer: () => token } } },
        audit: path,
      });
      await engine.start();
      await engine.callTool('mini__echo', { message: token });
      const lines = linesOf(path);
      expect(lines.find(({ event }) => event === 'connecting')).toMatchObject({ via: 'bearer' });
      expect(lines.filter(({ event }) => event === 'credential used')).toMatchObject([{ server: 'mini' }]);
      expect(readFileSync(path, 'utf8')).not.toContain(token);
    } finally {
      await server.close();
    }
  });

  it('belongs to one engine, and says so with the field', async () => {
    const path = join(directory(), 'audit.jsonl');
    const engine = make({ servers: {}, audit: path });
    expect(() => createEngine({ servers: {}, audit: path })).toThrow(
      expect.objectContaining({
        code: 'config_invalid',
        data: expect.objectContaining({ field: 'audit.file', reason: 'locked', pid: process.pid }),
      }),
    );
    await engine.stop({ graceMs: 0 });
    await make({ servers: {}, audit: path }).stop({ graceMs: 0 });
    expect(linesOf(path).filter(({ event }) => event === 'audit.opened')).toHaveLength(2);
  });

  it.each<[unknown, string]>([
    [{ file: '/no/such/directory/audit.jsonl' }, 'audit.file'],
    [true, 'audit.file'],
    [{ file: 'x', key: 'short' }, 'audit.key'],
    [{ file: 'x', onFailure: 'shrug' }, 'audit.onFailure'],
  ])('that cannot be is refused by createEngine: %j', (audit, field) => {
    expect(() => make({ servers: {}, audit: audit as never })).toThrow(
      expect.objectContaining({ code: 'config_invalid', data: expect.objectContaining({ field }) }),
    );
  });

  const full = LINUX && existsSync('/dev/full') ? it : it.skip;
  full('on a full disk refuses the engine, or goes on and tells, as was chosen', async () => {
    const peer = createScriptedPeer({ tools: ['echo'] });
    peer.answer('tools/call', { content: [{ type: 'text', text: 'done' }] });
    const servers: EngineConfig['servers'] = { desk: { transport: () => peer.transport } };
    const link = join(directory(), 'audit.jsonl');
    symlinkSync('/dev/full', link);
    expect(() => make({ servers, audit: { file: link } })).toThrow(/config_invalid.*audit\.file.*ENOSPC/s);
    const lost: string[] = [];
    const engine = make({
      servers,
      audit: { file: link, onFailure: 'continue', onError: (error) => lost.push(error.message) },
    });
    await engine.start();
    await engine.listTools();
    expect(await textOf(engine.callTool('desk__echo'))).toBe('done');
    expect(lost.length).toBeGreaterThanOrEqual(4);
    expect(lost[0]).toContain('ENOSPC');
  });

  it('that can no longer be kept elsewhere stops every verb before anything is sent', async () => {
    const path = join(directory(), 'audit.jsonl');
    const peer = createScriptedPeer({ tools: ['echo'], resources: ['x://a'], prompts: ['p'] });
    let broken = false;
    const engine = make({
      servers: { desk: { transport: () => peer.transport } },
      pinning: { firstSight: 'approve' },
      audit: {
        file: path,
        onHead: () => {
          if (broken) throw new Error('the vault of heads is away');
        },
      },
    });
    await engine.start();
    await Promise.all([engine.listTools(), engine.listResources(), engine.listPrompts()]);
    broken = true;
    const before = peer.received.length;
    const verbs: Readonly<Record<string, () => Promise<unknown>>> = {
      list: () => engine.listTools({ cache: 'refresh' }),
      call: () => engine.callTool('desk__echo'),
      read: () => engine.readResource('x://a'),
      prompt: () => engine.getPrompt('desk__p'),
      watch: () => engine.subscribeResource('x://a', () => {}),
      vendor: () => engine.request({ method: 'a/b' }),
      approve: () => engine.approve('desk'),
    };
    for (const [verb, ask] of Object.entries(verbs))
      expect([verb, await failureOf(ask())]).toMatchObject([
        verb,
        { code: 'denied', delivery: 'unsent', data: { reason: 'audit_failed' } },
      ]);
    expect(peer.received).toHaveLength(before);
    broken = false;
    expect((await failureOf(engine.callTool('desk__echo'))).data).toMatchObject({ reason: 'new' });
    expect(linesOf(path).filter(({ event }) => event === 'audit.gap')).toHaveLength(1);
    expect(await engine.verifyAudit()).toMatchObject({ ok: true });
  });
});

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import type { EngineConfig } from '../../lib/config/config.ts';
import type { Decision, PolicyEngine } from '../../lib/security/policy-engine.ts';
import type { PolicyRule } from '../../lib/security/policy-rule.ts';
import { startBearerHttp } from '../support/bearer-http.ts';
import {
  engines,
  failureOf,
  heard,
  hostHearsNothing,
  isConnected,
  QUICK,
  textOf,
  until,
} from '../support/engines.ts';
import { startMiniHttp, type MiniHttp } from '../support/mini-http.mjs';
import { createScriptedPeer } from '../support/scripted-peer.ts';
import { temporaryDirectories } from '../support/temp-dir.ts';

hostHearsNothing();
const make = engines();
const directory = temporaryDirectories();

const ALLOW: PolicyRule = { effect: 'allow', principals: ['alice', 'bob', 'carol'] };
const nobody = (): void => {};

interface Wire {
  readonly method?: string;
  readonly params?: {
    readonly uri?: string;
    readonly notifications?: { readonly resourceSubscriptions?: readonly string[] };
  };
}

const sent = (server: MiniHttp, method: string): Wire[] =>
  server.seen.map(({ body }) => body as Wire).filter((message) => message?.method === method);

const auditLines = (path: string): Array<Record<string, unknown>> =>
  readFileSync(path, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe.each(['2025-11-25', '2026-07-28'])(
  'a subscription at a server of %s, when the policy changes',
  (revision) => {
    const modern = revision === '2026-07-28';

    /** What the server is told to watch, as it has it now. */
    const watchedBy = async (server: MiniHttp): Promise<readonly string[]> => {
      if (modern)
        return (
          sent(server, 'subscriptions/listen').at(-1)?.params?.notifications?.resourceSubscriptions ?? []
        );
      const watched = new Set(sent(server, 'resources/subscribe').map(({ params }) => params?.uri ?? ''));
      for (const { params } of sent(server, 'resources/unsubscribe')) watched.delete(params?.uri ?? '');
      return [...watched];
    };

    it('ends where it is denied now, for whom it is denied, and the audit trail has the rule', async () => {
      const server = await startMiniHttp({ revision });
      const audit = join(directory(), 'audit.jsonl');
      const configured = (policy: EngineConfig['policy']): EngineConfig => ({
        restart: QUICK,
        servers: { mini: { url: server.url } },
        audit: { file: audit, key: 'a key of sixteen bytes or more' },
        policy,
      });
      try {
        const engine = make(configured([ALLOW]));
        await engine.start();
        const ended = heard(engine, 'subscription.ended');
        const got: string[] = [];
        const watch = (principal: string, uri: string) =>
          engine.subscribeResource(uri, () => void got.push(`${principal} ${uri}`), { principal });
        const touch = (uri: string) => engine.callTool('mini__touch', { uri }, { principal: 'carol' });
        await watch('alice', 'mini://a');
        await watch('alice', 'mini://b');
        await watch('bob', 'mini://a');
        await watch('bob', 'mini://b');
        await touch('mini://a');
        await until(() => got.length === 2, 'both to hear of it');
        expect(got.splice(0).sort()).toEqual(['alice mini://a', 'bob mini://a']);

        // Bob may not any more; Alice may, so that the server goes on watching.
        const notBob: PolicyRule = {
          id: 'not-bob',
          effect: 'deny',
          principals: ['bob'],
          resources: ['mini://a'],
        };
        await engine.reconfigure(configured([ALLOW, notBob]));
        expect(ended).toMatchObject([
          { server: 'mini', uri: 'mini://a', principal: 'bob', reason: 'policy' },
        ]);
        await touch('mini://a');
        await until(() => got.includes('alice mini://a'), 'Alice to hear of it');
        await touch('mini://b');
        await until(() => got.includes('bob mini://b'), 'the other resource');
        expect(got.splice(0)).not.toContain('bob mini://a');
        expect([...(await watchedBy(server))].sort()).toEqual(['mini://a', 'mini://b']);

        // Nobody may: the server is told.
        await engine.reconfigure(
          configured([
            ALLOW,
            { id: 'closed', effect: 'deny', operations: ['resources.subscribe'], resources: ['mini://a'] },
          ]),
        );
        await until(async () => !(await watchedBy(server)).includes('mini://a'), 'the server to be told');
        expect(await watchedBy(server)).toEqual(['mini://b']);
        if (modern) {
          // The stream before it, with the resource in it, is closed.
          const listening = async (): Promise<number> =>
            (
              JSON.parse(await textOf(engine.callTool('mini__state', {}, { principal: 'carol' }))) as {
                listening: number;
              }
            ).listening;
          await until(async () => (await listening()) === 1, 'the old stream to end');
        } else expect(sent(server, 'resources/unsubscribe')).toHaveLength(1);
        await touch('mini://a');
        await touch('mini://b');
        await until(() => got.length >= 2, 'those who may');
        expect(got.splice(0).sort()).toEqual(['alice mini://b', 'bob mini://b']);
        expect(await failureOf(watch('alice', 'mini://a'))).toMatchObject({ code: 'denied' });

        const reasons = auditLines(audit).filter(({ event }) => event === 'subscription ended');
        expect(reasons).toMatchObject([
          {
            operation: 'resources.subscribe',
            server: 'mini',
            resource: 'mini://a',
            principal: 'bob',
            rule: 'not-bob',
          },
          {
            operation: 'resources.subscribe',
            server: 'mini',
            resource: 'mini://a',
            principal: 'alice',
            rule: 'closed',
          },
        ]);
        expect(await engine.verifyAudit()).toMatchObject({ ok: true });

        // It does not come back by itself when the policy does, and may be begun anew.
        await engine.reconfigure(configured([ALLOW]));
        await watch('carol', 'mini://b');
        expect(await watchedBy(server)).toEqual(['mini://b']);
        await watch('carol', 'mini://a');
        await touch('mini://b');
        await touch('mini://a');
        await until(() => got.length >= 4, 'all who watch');
        expect(got.sort()).toEqual(['alice mini://b', 'bob mini://b', 'carol mini://a', 'carol mini://b']);
      } finally {
        await server.close();
      }
    });
  },
);

describe('a subscription, when the policy changes', () => {
  const desk = (era: 'legacy' | 'modern' = 'legacy') => {
    const peer = createScriptedPeer({
      era,
      resources: ['x://a'],
      capabilities: { resources: { subscribe: true } },
    });
    const servers = { desk: { transport: () => peer.transport, era } };
    const asked = (method: string) =>
      peer.received.filter((message) => 'method' in message && message.method === method).length;
    return { peer, servers, asked };
  };

  it('under the credentials of a principal ends in the session of that principal alone', async () => {
    const server = await startBearerHttp();
    const configured = (policy: EngineConfig['policy']): EngineConfig => ({
      restart: QUICK,
      servers: {
        docs: {
          url: server.url,
          type: 'http',
          era: 'legacy',
          auth: { bearer: TOKEN },
        },
      },
      policy,
    });
    try {
      const engine = make(configured([ALLOW]));
      await engine.start();
      const ended = heard(engine, 'subscription.ended');
      const got: string[] = [];
      for (const principal of ['alice', 'bob'])
        await engine.subscribeResource('memo://who', () => void got.push(principal), { principal });
      expect(server.watchers('memo://who').sort()).toEqual(['alice', 'bob']);
      await engine.reconfigure(configured([ALLOW, { effect: 'deny', principals: ['bob'] }]));
      await until(() => server.watchers('memo://who').join() === 'alice', 'the session of Bob to be told');
      // It goes on telling him.
      server.touch('bob', 'memo://who');
      server.touch('alice', 'memo://who');
      await until(() => got.length > 0, 'Alice to hear of it');
      expect(got).toEqual(['alice']);
      expect(ended).toMatchObject([{ server: 'docs', uri: 'memo://who', principal: 'bob' }]);
      expect(server.mixed).toEqual([]);
    } finally {
      await server.close();
    }
  });

  it.each(['legacy', 'modern'] as const)(
    'of the host itself ends, whatever a %s server goes on telling',
    async (era) => {
      const { peer, servers, asked } = desk(era);
      peer.answer('resources/subscribe', {});
      peer.answer('resources/unsubscribe', () => {
        throw Object.assign(new Error('I do as I please'), { code: -32603 });
      });
      const engine = make({ servers, policy: [] });
      await engine.start();
      let got = 0;
      await engine.subscribeResource('x://a', () => (got += 1));
      peer.notify('notifications/resources/updated', { uri: 'x://a' });
      await until(() => got === 1, 'the first update');
      await engine.reconfigure({
        restart: QUICK,
        servers,
        policy: [{ effect: 'deny', operations: ['resources.subscribe'] }],
      });
      // Modern: the stream is given up, since nothing is left in it.
      const told = era === 'modern' ? 'notifications/cancelled' : 'resources/unsubscribe';
      await until(() => asked(told) === 1, 'the server to be told');
      const notified = heard(engine, 'server.notified');
      peer.send({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'x://a' } });
      peer.send({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' });
      if (era === 'legacy') await until(() => notified.length === 2, 'the server to have told again');
      await engine.listResources();
      expect(got).toBe(1);
      expect(isConnected(engine, 'desk')).toBe(true);
      // Nor is it begun anew in the next session.
      const begun = asked('resources/subscribe');
      peer.close();
      await until(() => peer.connections > 1 && isConnected(engine, 'desk'), 'the next session');
      await engine.listResources();
      expect(asked('resources/subscribe')).toBe(begun);
      expect(asked('subscriptions/listen')).toBe(era === 'modern' ? 1 : 0);
    },
  );

  it('is refused when it was still on its way', async () => {
    const { peer, servers, asked } = desk();
    const engine = make({ servers, policy: [ALLOW] });
    await engine.start();
    await engine.listResources({ principal: 'alice' });
    let got = 0;
    const asking = failureOf(engine.subscribeResource('x://a', () => (got += 1), { principal: 'alice' }));
    await until(() => peer.waiting.some(({ method }) => method === 'resources/subscribe'), 'the question');
    await engine.reconfigure({ restart: QUICK, servers, policy: [{ effect: 'allow', principals: ['bob'] }] });
    peer.notify('notifications/resources/updated', { uri: 'x://a' });
    peer.answer('resources/unsubscribe', {});
    await peer.expectRequest('resources/subscribe').reply({});
    expect(await asking).toMatchObject({ code: 'denied', server: 'desk', data: { reason: 'policy' } });
    await until(() => asked('resources/unsubscribe') === 1, 'the server to be told');
    expect(got).toBe(0);
  });

  it('is not sent when it was allowed before and has not been asked yet', async () => {
    const { peer, servers, asked } = desk();
    const engine = make({ servers, policy: [ALLOW] });
    let answer = nobody;
    peer.answer(
      'resources/list',
      () =>
        new Promise((resolve) => {
          answer = () => resolve({ resources: [{ uri: 'x://a', name: 'a' }] });
        }),
    );
    void engine.start();
    const asking = failureOf(
      engine.subscribeResource('x://a', nobody, { principal: 'alice', servers: ['desk'] }),
    );
    await until(() => asked('resources/list') > 0, 'the list to be asked for');
    await engine.reconfigure({ restart: QUICK, servers, policy: [{ effect: 'allow', principals: ['bob'] }] });
    answer();
    expect(await asking).toMatchObject({ code: 'not_found' });
    expect(asked('resources/subscribe')).toBe(0);
  });

  it('waits for a policy of the host that takes its time, and ends with one that never answers', async () => {
    const { peer, servers } = desk();
    peer.answer('resources/subscribe', {});
    peer.answer('resources/unsubscribe', {});
    const audit = join(directory(), 'audit.jsonl');
    const yes: Decision = { effect: 'allow', ruleId: 'all', ruleSource: 'spec', reason: 'because' };
    const configured = (policy: PolicyEngine): EngineConfig => ({
      restart: QUICK,
      servers,
      policy,
      audit,
      timeoutMs: 300,
    });
    const engine = make(configured({ decide: () => yes }));
    await engine.start();
    const got: string[] = [];
    for (const principal of ['alice', 'bob'])
      await engine.subscribeResource('x://a', () => void got.push(principal), { principal });
    let answer: (() => void) | undefined;
    const asked = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const changed = engine.reconfigure(
      configured({
        decide: ({ principal }) =>
          asked.then(() => (principal?.id === 'bob' ? { ...yes, effect: 'deny', ruleId: 'no-bob' } : yes)),
      }),
    );
    const notified = heard(engine, 'server.notified');
    peer.notify('notifications/resources/updated', { uri: 'x://a' });
    await until(() => notified.length === 1, 'the update');
    expect(got).toEqual([]);
    answer?.();
    await changed;
    expect(got).toEqual(['alice']);
    await engine.reconfigure(configured({ decide: () => new Promise<Decision>(nobody) }));
    peer.notify('notifications/resources/updated', { uri: 'x://a' });
    await until(() => notified.length === 2, 'the update');
    expect(got).toEqual(['alice']);
    expect(auditLines(audit).filter(({ event }) => event === 'subscription ended')).toMatchObject([
      { principal: 'bob', rule: 'no-bob' },
      { principal: 'alice', rule: 'default:engine-failed', reason: 'no answer in 300 ms' },
    ]);
  });

  it('is not touched by a configuration without a policy, or with one that is refused', async () => {
    const { peer, servers, asked } = desk();
    peer.answer('resources/subscribe', {});
    const engine = make({ servers, policy: [ALLOW] });
    await engine.start();
    let got = 0;
    await engine.subscribeResource('x://a', () => (got += 1), { principal: 'alice' });
    await engine.reconfigure({ restart: QUICK, servers });
    expect(
      await failureOf(
        engine.reconfigure({ restart: QUICK, servers, policy: [{ effect: 'perhaps' as never }] }),
      ),
    ).toMatchObject({ code: 'config_invalid' });
    peer.notify('notifications/resources/updated', { uri: 'x://a' });
    await until(() => got === 1, 'the update');
    expect(asked('resources/unsubscribe')).toBe(0);
  });
});

/** One function, so that the server stays the same when the configuration is given again. */
const TOKEN = ({ principal }: { readonly principal: { readonly id: string } | undefined }) => principal?.id;

describe('what lies below a watched resource', () => {
  it('is not heard of by who may not know it, while a change of the policy is being judged either', async () => {
    const peer = createScriptedPeer({ resources: ['doc://a', 'doc://a/secret'] });
    for (const method of ['resources/subscribe', 'resources/unsubscribe']) peer.answer(method, {});
    const policy = (ms: number): PolicyEngine => ({
      decide: async ({ resource }) => {
        await new Promise((resolve) => void setTimeout(resolve, ms));
        const effect = resource === 'doc://a/secret' ? 'deny' : 'allow';
        return { effect, ruleId: 'own', ruleSource: 'test', reason: '' } satisfies Decision;
      },
    });
    const servers = { s: { era: 'legacy' as const, transport: () => peer.transport } };
    const engine = make({ servers, policy: policy(0) });
    await engine.start();
    const heardOf: string[] = [];
    await engine.subscribeResource('doc://a', ({ uri }) => void heardOf.push(uri), { principal: 'bob' });
    const tell = (uri: string): void => peer.notify('notifications/resources/updated', { uri });
    const change = engine.reconfigure({ servers, policy: policy(150) });
    await new Promise((resolve) => void setTimeout(resolve, 30));
    tell('doc://a/secret');
    tell('doc://a/open');
    await change;
    await until(() => heardOf.length > 0, 'the update that may be heard of');
    expect(heardOf).toEqual(['doc://a/open']);
  });
});

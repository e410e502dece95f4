import { describe, expect, it } from '@jest/globals';
import type { Engine } from '../../lib/engine/contract.ts';
import { failureOf, hostHearsNothing, isConnected, until } from '../support/engines.ts';
import { scriptedFleets } from '../support/scripted-fleet.ts';
import type { ScriptedPeer } from '../support/scripted-peer.ts';

hostHearsNothing();
const fleet = scriptedFleets();
const URI = 'memo://x';
const nobody = (): void => {};
const watchable = { resources: [] };
const lister = { ...watchable, resources: [URI] };
const slowly = { restart: { baseMs: 60_000, capMs: 60_000, jitter: 0 } };

describe('subscribeResource', () => {
  it('watches at the server that lists the resource, whoever stands before it', async () => {
    const { engine, peers, got } = fleet({ other: watchable, holder: lister });
    await engine.start();
    await engine.listResources();
    peers.holder.answer('resources/subscribe', {});
    peers.holder.answer('resources/unsubscribe', {});
    let heard = 0;
    const subscription = await engine.subscribeResource(URI, () => (heard += 1));
    expect([got('other', 'resources/subscribe').length, got('holder', 'resources/subscribe')]).toMatchObject([
      0,
      [{ uri: URI }],
    ]);
    peers.holder.notify('notifications/resources/updated', { uri: URI });
    await until(() => heard === 1, 'the update');
    await subscription.close();
    await until(() => got('holder', 'resources/unsubscribe').length === 1, 'the end of it');
  });

  it('given up before the server has answered is ended at the server, and tells nobody', async () => {
    const { engine, peers, got } = fleet({ holder: lister });
    await engine.start();
    await engine.listResources();
    let accept = (): void => {};
    peers.holder.answer('resources/subscribe', () => new Promise((resolve) => (accept = () => resolve({}))));
    peers.holder.answer('resources/unsubscribe', {});
    let heard = 0;
    const late = engine.subscribeResource(URI, () => (heard += 1), { timeoutMs: 50 });
    expect(await failureOf(late)).toMatchObject({ code: 'deadline_exceeded' });
    accept();
    await until(() => got('holder', 'resources/unsubscribe').length === 1, 'the end of it');
    peers.holder.notify('notifications/resources/updated', { uri: URI });
    await new Promise((resolve) => void setImmediate(resolve));
    expect(heard).toBe(0);
  });

  it('asks for the lists first where nobody has listed yet', async () => {
    const { engine, peers, got } = fleet({ other: watchable, holder: lister });
    peers.holder.answer('resources/subscribe', {});
    void engine.start();
    await engine.subscribeResource(URI, nobody);
    expect([got('other', 'resources/subscribe').length, got('holder', 'resources/subscribe').length]).toEqual(
      [0, 1],
    );
  });

  it('of what nobody lists is kept by the first server that accepts', async () => {
    const { engine, peers, got } = fleet({
      tools: { tools: ['echo'] },
      strict: watchable,
      open: watchable,
      spare: watchable,
    });
    await engine.start();
    peers.strict.answer('resources/subscribe', () => {
      throw Object.assign(new Error('unknown resource'), { code: -32002 });
    });
    peers.open.answer('resources/subscribe', {});
    await engine.subscribeResource(URI, nobody);
    expect(got('strict', 'resources/subscribe')).toHaveLength(1);
    expect(got('open', 'resources/subscribe')).toHaveLength(1);
    expect(got('spare', 'resources/subscribe')).toEqual([]);
  });

  it('rejects with the first refusal when nobody accepts', async () => {
    const { engine, peers } = fleet({ strict: watchable, tools: { tools: ['echo'] } });
    await engine.start();
    peers.strict.answer('resources/subscribe', () => {
      throw Object.assign(new Error('not for you'), { code: -32603 });
    });
    const error = await failureOf(engine.subscribeResource(URI, nobody));
    expect(error).toMatchObject({ server: 'strict', delivery: 'answered' });
    expect(error.message).toContain('not for you');
  });

  it('at a named server asks nobody else', async () => {
    const { engine, peers, got } = fleet({ holder: lister, mute: { tools: ['echo'] } });
    await engine.start();
    peers.holder.answer('resources/subscribe', {});
    const error = await failureOf(engine.subscribeResource(URI, nobody, { servers: ['mute'] }));
    expect(error).toMatchObject({ code: 'unsupported', server: 'mute', delivery: 'unsent' });
    expect(got('holder', 'resources/subscribe')).toEqual([]);
    const unknown = await failureOf(engine.subscribeResource(URI, nobody, { servers: ['nobody'] }));
    expect(unknown).toMatchObject({ code: 'not_found' });
    expect(unknown.message).toContain('no server "nobody"; there are holder, mute');
  });

  it('at a server that is down says so', async () => {
    const { engine } = fleet({ down: { config: slowly, down: () => 'the cable is out' } });
    await engine.start();
    const error = await failureOf(engine.subscribeResource(URI, nobody, { servers: ['down'] }));
    expect(error).toMatchObject({ code: 'unavailable', server: 'down' });
    expect(String(error.cause)).toContain('the cable is out');
  });

  it('wakes a server that rests', async () => {
    const { engine, peers } = fleet({ lazy: { ...lister, config: { lazy: true } } });
    await engine.start();
    expect(isConnected(engine, 'lazy')).toBe(false);
    peers.lazy.answer('resources/subscribe', {});
    await engine.subscribeResource(URI, nobody);
    expect(isConnected(engine, 'lazy')).toBe(true);
  });

  it('in an empty fleet is not found', async () => {
    const error = await failureOf(fleet({}).engine.subscribeResource(URI, nobody));
    expect(error).toMatchObject({ code: 'not_found', delivery: 'unsent' });
    expect(error.message).toContain('the fleet is empty');
  });

  it('ends with its time and with its signal, and asks no further server then', async () => {
    const { engine, peers, got } = fleet({ slow: lister, next: watchable });
    await engine.start();
    await engine.listResources();
    const late = failureOf(engine.subscribeResource(URI, nobody, { timeoutMs: 200 }));
    await peers.slow.expectRequest('resources/subscribe').hang();
    expect(await late).toMatchObject({ code: 'deadline_exceeded' });
    const aborter = new AbortController();
    const aborted = failureOf(engine.subscribeResource('memo://y', nobody, { signal: aborter.signal }));
    await until(() => got('slow', 'resources/subscribe').length > 1, 'the second to be asked');
    aborter.abort();
    expect(await aborted).toMatchObject({ code: 'cancelled' });
    expect(got('next', 'resources/subscribe')).toEqual([]);
  });

  it.each([
    ['no URI', '', nobody],
    ['no listener', URI, undefined],
  ])('with %s is no request', async (_, uri, listener) => {
    const { engine, got } = fleet({ holder: lister });
    await engine.start();
    expect(await failureOf(engine.subscribeResource(uri, listener as never))).toMatchObject({
      code: 'invalid_request',
    });
    expect(got('holder', 'resources/subscribe')).toEqual([]);
  });
});

describe('a subscription', () => {
  const watching = async (engine: Engine, peer: ScriptedPeer): Promise<string[]> => {
    peer.answer('resources/subscribe', {});
    await engine.start();
    const heard: string[] = [];
    await engine.subscribeResource(URI, ({ uri }) => heard.push(uri));
    return heard;
  };

  it('outlives a change of its server, whose new sessions are told of it', async () => {
    const { engine, peers, got, config } = fleet({ other: watchable, holder: lister });
    const heard = await watching(engine, peers.holder);
    const ended: unknown[] = [];
    engine.on('subscription.ended', (event) => ended.push(event));
    await engine.reconfigure({
      ...config,
      servers: { ...config.servers, holder: { ...config.servers.holder, timeoutMs: 4_321 } },
    });
    await until(() => got('holder', 'resources/subscribe').length === 2, 'the new session to be told');
    peers.holder.notify('notifications/resources/updated', { uri: URI });
    await until(() => heard.length === 1, 'the update');
    expect(ended).toEqual([]);
  });

  it('ends with its server, and the host is told', async () => {
    const { engine, peers } = fleet({ other: watchable, holder: lister });
    const heard = await watching(engine, peers.holder);
    const ended: unknown[] = [];
    engine.on('subscription.ended', (event) => ended.push(event));
    await engine.remove('holder');
    expect(ended).toMatchObject([{ server: 'holder', uri: URI, principal: undefined, reason: 'removed' }]);
    peers.holder.notify('notifications/resources/updated', { uri: URI });
    expect(heard).toEqual([]);
  });
});

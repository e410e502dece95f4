import { describe, expect, it } from '@jest/globals';
import type { Host } from '../../lib/config/config.ts';
import type { EngineEvent } from '../../lib/core/events.ts';
import { silentLogger } from '../../lib/core/ports.ts';
import { createInboundDoor } from '../../lib/engine/inbound.ts';
import { createVirtualClock } from '../support/virtual-clock.ts';

const NEVER = new AbortController().signal;

function setting(host: Host, change: { atOnce?: number; perMinute?: number } = {}) {
  const clock = createVirtualClock();
  const events: EngineEvent[] = [];
  const inbound = createInboundDoor({
    host,
    principal: undefined,
    clock,
    emit: (event) => events.push(event),
    logger: silentLogger,
    limits: () => ({
      serverRequestsAtOnce: change.atOnce ?? 4,
      serverRequestsPerMinute: change.perMinute ?? 30,
    }),
    timeoutMs: 1_000,
  });
  return { clock, events, inbound, door: inbound.door('s', 's') };
}

describe('the door to the host', () => {
  it('declares only what the host answers, and what it adds by itself', () => {
    expect(setting({}).door.capabilities).toEqual({});
    expect(setting({ sample: () => ({}), roots: [] }).door.capabilities).toEqual({ sampling: {}, roots: {} });
    expect(
      setting({
        elicit: () => ({}),
        capabilities: { elicitation: { form: { applyDefaults: true } }, experimental: {} },
      }).door.capabilities,
    ).toEqual({
      elicitation: { form: { applyDefaults: true } },
      experimental: {},
    });
  });

  it('hands on who asks, and tells how it ended', async () => {
    const { door, events } = setting({ sample: (params, { server }) => ({ from: server, ...params }) });
    expect(await door.ask('sampling/createMessage', { a: 1 }, NEVER)).toEqual({ from: 's', a: 1 });
    await expect(door.ask('elicitation/create', {}, NEVER)).rejects.toMatchObject({
      code: 'unsupported',
      server: 's',
    });
    expect(events).toMatchObject([
      { type: 'server.asked', method: 'sampling/createMessage', ok: true },
      { type: 'server.asked', method: 'elicitation/create', ok: false },
    ]);
  });

  it('answers roots from a list or a function', async () => {
    const roots = [{ uri: 'file:///x' }];
    expect(await setting({ roots }).door.ask('roots/list', undefined, NEVER)).toEqual({ roots });
    expect(
      await setting({ roots: () => Promise.resolve(roots) }).door.ask('roots/list', undefined, NEVER),
    ).toEqual({ roots });
  });

  it('bounds a callback that hangs, and tells it to stop', async () => {
    let aborted = false;
    const { door, clock } = setting({
      sample: (_, { signal }) =>
        new Promise(() => {
          signal.addEventListener('abort', () => (aborted = true));
        }),
    });
    const asked = door.ask('sampling/createMessage', {}, NEVER);
    asked.catch(() => {});
    await clock.advance(1_000);
    await expect(asked).rejects.toMatchObject({ code: 'deadline_exceeded' });
    expect(aborted).toBe(true);
    expect(clock.armed).toBe(0);
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('defect');
      },
      'internal',
    ],
    ['answers with a text', () => 'yes' as never, 'invalid_request'],
  ])('types what goes wrong when the host %s', async (_, sample, code) => {
    await expect(setting({ sample }).door.ask('sampling/createMessage', {}, NEVER)).rejects.toMatchObject({
      code,
    });
  });

  it('ends when the server withdraws its request', async () => {
    const { door } = setting({ sample: () => new Promise(() => {}) });
    const withdrawn = new AbortController();
    const asked = door.ask('sampling/createMessage', {}, withdrawn.signal);
    withdrawn.abort();
    await expect(asked).rejects.toMatchObject({ code: 'cancelled' });
  });

  it('answers few at once and few in a minute', async () => {
    const release: Array<() => void> = [];
    const { door, clock } = setting(
      { sample: () => new Promise((resolve) => void release.push(() => resolve({}))) },
      { atOnce: 2, perMinute: 3 },
    );
    const ask = (): Promise<unknown> => door.ask('sampling/createMessage', {}, NEVER);
    const running = [ask(), ask()];
    await clock.flush();
    await expect(ask()).rejects.toMatchObject({ code: 'rate_limited' });
    for (const free of release.splice(0)) free();
    await Promise.all(running);
    const third = ask();
    await clock.flush();
    release.splice(0).forEach((free) => free());
    await third;
    await expect(ask()).rejects.toMatchObject({ code: 'rate_limited', retryAfterMs: 60_000 });
    await clock.advance(60_000);
    const later = ask();
    await clock.flush();
    release.splice(0).forEach((free) => free());
    await expect(later).resolves.toEqual({});
  });

  it('sends people to https only', async () => {
    const { door } = setting({ elicit: () => ({ action: 'accept' }) });
    const ask = (url: string): Promise<unknown> =>
      door.ask('elicitation/create', { mode: 'url', url }, NEVER);
    for (const bad of ['http://example.com', 'javascript:alert(1)', 'file:///etc/passwd', 'nonsense']) {
      await expect(ask(bad)).rejects.toMatchObject({ code: 'denied', server: 's' });
    }
    await expect(ask('https://example.com/ok')).resolves.toEqual({ action: 'accept' });
    await expect(ask('http://127.0.0.1:3000/dev')).resolves.toEqual({ action: 'accept' });
  });

  it('survives a log callback that throws or rejects', () => {
    const { inbound } = setting({
      log: (params) => {
        if (params['sync'] === true) throw new Error('defect');
        return Promise.reject(new Error('defect'));
      },
    });
    expect(() => inbound.logged('s', { sync: true })).not.toThrow();
    expect(() => inbound.logged('s', { sync: false })).not.toThrow();
  });
});

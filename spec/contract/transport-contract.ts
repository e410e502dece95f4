import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  createEngine,
  type Engine,
  type EngineConfig,
  type Json,
  type ServerConfig,
} from '../../lib/index.ts';

/** The five revisions of the protocol. */
export const REVISIONS = ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25', '2026-07-28'] as const;
export type Revision = (typeof REVISIONS)[number];

export interface Host {
  /** What to configure; the engine finds the era by itself. */
  readonly server: ServerConfig;
  /** Ends the present connection in the way this transport can end, without the engine's doing. */
  lose(engine: Engine): Promise<void>;
  close(): Promise<void>;
}

export interface Subject {
  readonly transport: string;
  readonly revisions: readonly Revision[];
  start(revision: Revision): Promise<Host>;
}

const settings: EngineConfig = { restart: { baseMs: 20, jitter: 0, intensity: 100 } };

/** What every transport does, in every revision it can speak. */
export function describeTransport({ transport, revisions, start }: Subject): void {
  describe.each(revisions)(`${transport}, revision %s`, (revision) => {
    const modern = revision >= '2026-07-28';
    const sampled: Json[] = [];
    let host: Host;
    let engine: Engine;

    beforeAll(async () => {
      host = await start(revision);
      engine = createEngine({
        ...settings,
        servers: { mini: host.server },
        host: {
          sample: (params, context) => {
            sampled.push({ ...params, from: context.server });
            return { role: 'assistant', model: 'm', content: { type: 'text', text: 'as you like' } };
          },
        },
      });
      await engine.start();
    });

    afterAll(async () => {
      await engine.stop();
      await host.close();
    });

    const call = async (name: string, args: Json = {}, options = {}): Promise<string> => {
      const { content } = (await engine.callTool(`mini__${name}`, args, options)) as {
        content: Array<{ text: string }>;
      };
      return content[0]?.text ?? '';
    };
    const state = async (): Promise<{
      pid: number;
      cancelled: string[];
      subscribed: string[];
      logLevel?: string;
      listening: number;
    }> => JSON.parse(await call('state')) as never;

    it('is connected in its era', () => {
      const [row] = engine.fleet.connections;
      expect(row).toMatchObject({
        state: 'Connected',
        transport,
        era: modern ? 'modern' : 'legacy',
        protocolVersion: revision,
        availability: 'usable',
      });
      expect(row?.serverInfo).toMatchObject({ name: 'mini' });
    });

    it('lists all pages, fields it does not know included', async () => {
      const { items, failures } = await engine.listTools();
      expect(failures).toEqual([]);
      expect(items.length).toBeGreaterThanOrEqual(9);
      expect(items[0]).toMatchObject({
        name: 'mini__echo',
        server: 'mini',
        originalName: 'echo',
        vendorTool: true,
      });
      expect((await engine.listResources()).items.map((r) => r['uri'])).toEqual(['mini://a', 'mini://b']);
      expect((await engine.listResourceTemplates()).items).toHaveLength(1);
      expect((await engine.listPrompts()).items[0]).toMatchObject({
        name: 'mini__greet',
        originalName: 'greet',
      });
    });

    it('hands results on untouched', async () => {
      expect(await engine.callTool('mini__echo', { message: 'grün 🌱' })).toMatchObject({
        content: [{ type: 'text', text: 'grün 🌱' }],
        vendorResult: 1,
      });
      expect(await engine.callTool('mini__fail')).toMatchObject({ isError: true });
    });

    it('reads, gets, completes and asks vendor methods', async () => {
      expect(await engine.readResource('mini://item/7')).toMatchObject({
        contents: [{ text: 'content of mini://item/7' }],
      });
      expect(await engine.getPrompt('mini__greet', { who: 'you' })).toMatchObject({
        messages: [{ content: { text: 'hello you' } }],
      });
      expect(
        await engine.complete({ type: 'ref/prompt', name: 'mini__greet' }, { name: 'who', value: 'al' }),
      ).toMatchObject({
        completion: { values: ['alpha'] },
      });
      expect(
        await engine.request({ method: 'vendor/thing', params: { x: 1 }, server: 'mini' }),
      ).toMatchObject({ vendor: 1 });
    });

    it('types what goes wrong, and says that it was answered', async () => {
      await expect(engine.readResource('mini://nothing')).rejects.toMatchObject({
        code: 'not_found',
        delivery: 'answered',
        server: 'mini',
      });
      await expect(engine.request({ method: 'vendor/unknown', server: 'mini' })).rejects.toMatchObject({
        code: 'unsupported',
        delivery: 'answered',
      });
      await expect(engine.callTool('mini__nothing')).rejects.toMatchObject({ code: 'not_found' });
      await expect(engine.callTool('mini__structured', { good: false })).rejects.toMatchObject({
        code: 'invalid_response',
      });
      expect(await engine.callTool('mini__structured', { good: true })).toMatchObject({
        structuredContent: { n: 1 },
      });
    });

    it('delivers every progress, the last one too', async () => {
      const seen: number[] = [];
      await call(
        'slow',
        { steps: 5, ms: 1 },
        { onProgress: ({ progress }: { progress: number }) => seen.push(progress) },
      );
      expect(seen).toEqual([1, 2, 3, 4, 5]);
    });

    it('cancels at the server what the caller aborts or the deadline ends', async () => {
      const before = (await state()).cancelled.length;
      const aborter = new AbortController();
      const aborted = call('hang', {}, { signal: aborter.signal });
      setTimeout(() => aborter.abort(), 30);
      await expect(aborted).rejects.toMatchObject({ code: 'cancelled', delivery: 'sent' });
      await expect(call('hang', {}, { timeoutMs: 40 })).rejects.toMatchObject({
        code: 'deadline_exceeded',
        delivery: 'sent',
        server: 'mini',
      });
      await until(async () => (await state()).cancelled.length === before + 2);
    });

    it('answers 100 calls at once, each with its own result', async () => {
      const answers = await Promise.all(
        Array.from({ length: 100 }, (_, i) => call('echo', { message: String(i) })),
      );
      expect(answers).toEqual(Array.from({ length: 100 }, (_, i) => String(i)));
    });

    it('carries a megabyte both ways', async () => {
      const message = 'x'.repeat(1_000_000);
      expect(await call('echo', { message })).toBe(message);
    });

    it('answers what the server asks of the host', async () => {
      expect(await call('ask', { prompt: 'sing' })).toBe('as you like');
      expect(sampled.at(-1)).toMatchObject({ from: 'mini', maxTokens: 5 });
    });

    it('hears of changed lists', async () => {
      const before = (await engine.listTools()).items.length;
      await call('grow');
      await until(async () => (await engine.listTools()).items.length === before + 1);
      expect(await call(`extra-${before - 9}`)).toBe(`extra-${before - 9}`);
    });

    it('watches a resource until nobody listens any more', async () => {
      const heard: string[] = [];
      const first = await engine.subscribeResource('mini://a', ({ uri }) => heard.push(uri));
      const second = await engine.subscribeResource('mini://a', ({ uri }) => heard.push(uri));
      await until(async () => {
        await call('touch', { uri: 'mini://a' });
        return heard.length >= 2;
      });
      await first.close();
      await second.close();
      heard.length = 0;
      await call('touch', { uri: 'mini://a' });
      await call('echo', { message: 'in order' });
      expect(heard).toEqual([]);
    });

    it('comes back after a loss, with its subscriptions and log level', async () => {
      const states: string[] = [];
      const heard: string[] = [];
      const subscription = engine.connection('mini').state$.subscribe((s) => states.push(s));
      await engine.subscribeResource('mini://b', ({ uri }) => heard.push(uri));
      if (!modern)
        await engine.request({ method: 'logging/setLevel', params: { level: 'warning' }, server: 'mini' });
      await host.lose(engine);
      // A modern HTTP server is not a connection but a verdict: its restart may pass unseen.
      const visible = !(modern && transport === 'streamable-http');
      if (visible)
        await until(() => states.includes('Error') && engine.connection('mini').state === 'Connected');
      if (visible)
        expect(states.join(' ')).toMatch(
          /^Connected Error Connecting( Initializing (Error )?Connecting)* Initializing Connected/,
        );
      await until(async () => {
        await call('touch', { uri: 'mini://b' }, { idempotent: true }).catch(() => {});
        return heard.length > 0;
      });
      if (!modern) expect((await state()).logLevel).toBe('warning');
      subscription.unsubscribe();
    });
  });
}

/** Waits until `holds`, for four seconds at most. */
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 4_000;
  for (;;) {
    if (await holds()) return;
    if (performance.now() > end) throw new Error('waited in vain');
    await new Promise((resolve) => {
      setTimeout(resolve, 10);
    });
  }
}

import { describe, expect, it } from '@jest/globals';
import { startMiniHttp } from '../support/mini-http.mjs';
import { engines, failureOf } from '../support/engines.ts';

describe.each(['2025-11-25', '2026-07-28'])('policy against a server of %s', (revision) => {
  const make = engines();

  it('sends nothing for what is denied, and lists only what may be called', async () => {
    const server = await startMiniHttp({ revision });
    try {
      const engine = make({
        servers: { mini: { url: server.url } },
        policy: [{ effect: 'allow', principals: ['bob'], tools: ['echo'] }],
      });
      await engine.start();
      const principal = 'bob';
      expect((await engine.listTools({ principal })).items.map(({ originalName }) => originalName)).toEqual([
        'echo',
      ]);
      expect(await engine.callTool('mini__echo', { message: 'x' }, { principal })).toMatchObject({
        content: [{ text: 'x' }],
      });
      const calls = (): number => JSON.stringify(server.seen).split('"tools/call"').length;
      const before = calls();
      const hidden = await failureOf(engine.callTool('mini__fail', {}, { principal }));
      const unknown = await failureOf(engine.callTool('mini__nope', {}, { principal }));
      expect([hidden.code, unknown.code]).toEqual(['not_found', 'not_found']);
      expect(calls()).toBe(before);
    } finally {
      await server.close();
    }
  });
});

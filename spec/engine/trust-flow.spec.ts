import { describe, expect, it } from '@jest/globals';
import type { Interceptor } from '../../lib/core/interceptor.ts';
import type { Json } from '../../lib/core/json-rpc.ts';
import type { PolicyRule } from '../../lib/security/policy-rule.ts';
import { failureOf, hostHearsNothing, textOf } from '../support/engines.ts';
import { scriptedFleets } from '../support/scripted-fleet.ts';

hostHearsNothing();
const fleet = scriptedFleets();
const said = (text: string): Json => ({ content: [{ type: 'text', text }] });

/**
 * A flow policy of the host's own: an interceptor labels what each server has said, a condition looks for it in the
 * arguments of calls to others.
 */
function labels(): { readonly interceptor: Interceptor; readonly rule: PolicyRule } {
  const saidBy = new Map<string, Set<string>>();
  return {
    interceptor: (next) => async (request) => {
      const response = await next(request);
      const { server } = request.facts;
      if (server !== undefined) {
        const texts = saidBy.get(server) ?? new Set();
        saidBy.set(server, texts);
        for (const part of (response['content'] ?? []) as ReadonlyArray<{ text?: string }>)
          if (part.text !== undefined) texts.add(part.text);
      }
      return response;
    },
    rule: {
      id: 'no-flow',
      effect: 'deny',
      operations: ['tools.call'],
      when: ({ server, arguments: given }) => {
        const text = JSON.stringify(given ?? {});
        return [...saidBy].some(
          ([from, texts]) => from !== server && [...texts].some((secret) => text.includes(secret)),
        );
      },
    },
  };
}

describe('a flow policy', () => {
  it('keeps what one server has said out of what another is sent', async () => {
    const { interceptor, rule } = labels();
    const { engine, peers, got } = fleet(
      { chats: { tools: ['read'] }, mail: { tools: ['send'] } },
      { interceptors: [interceptor], policy: [{ effect: 'allow' }, rule], principal: { id: 'alice' } },
    );
    peers.chats.answer('tools/call', said('the code is 8261'));
    peers.mail.answer('tools/call', said('sent'));
    await engine.start();
    await engine.listTools();
    expect(await textOf(engine.callTool('mail__send', { text: 'hello' }))).toBe('sent');
    const secret = await textOf(engine.callTool('chats__read', {}));
    expect(await failureOf(engine.callTool('mail__send', { text: `fwd: ${secret}` }))).toMatchObject({
      code: 'denied',
      server: 'mail',
      delivery: 'unsent',
    });
    // Back to where it came from it may go, and other things may go anywhere.
    expect(await textOf(engine.callTool('chats__read', { about: secret }))).toBe(secret);
    expect(await textOf(engine.callTool('mail__send', { text: 'bye' }))).toBe('sent');
    expect(got('mail', 'tools/call')).toMatchObject([
      { arguments: { text: 'hello' } },
      { arguments: { text: 'bye' } },
    ]);
  });
});

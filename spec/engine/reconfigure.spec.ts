import { describe, expect, it } from '@jest/globals';
import { McpServer } from '@modelcontextprotocol/server';
import type { ServerConfig } from '../../lib/config/config.ts';
import { engines, failureOf, hostHearsNothing, pause, textOf } from '../support/engines.ts';

hostHearsNothing();
const engine = engines();

/** A tool `t` in this process that says its server's name after `ms`. */
const server = (name: string, ms = 0, atWork: { now: number; most: number } = { now: 0, most: 0 }) => ({
  server: (): McpServer => {
    const made = new McpServer({ name, version: '1.0.0' });
    made.registerTool('t', {}, async () => {
      atWork.now += 1;
      atWork.most = Math.max(atWork.most, atWork.now);
      await pause(ms);
      atWork.now -= 1;
      return { content: [{ type: 'text', text: name }] };
    });
    return made;
  },
});

describe('a configuration that is refused', () => {
  it.each<[string, ServerConfig]>([
    ['an option of a strategy', { routing: { strategy: 'p2c', bogus: 1 } }],
    ['an affinity without its argument', { affinity: { by: 'key' } }],
  ])('for %s changes nothing, the policy neither', async (_what, bad) => {
    const of = engine({ servers: { s: server('s') }, policy: [{ effect: 'allow' }] });
    await of.start();
    const refused = failureOf(of.reconfigure({ servers: { s: { ...server('s'), ...bad } }, policy: [] }));
    expect(await refused).toMatchObject({ code: 'config_invalid', server: 's' });
    expect(await textOf(of.callTool('s__t', {}, { principal: 'alice' }))).toBe('s');
  });
});

describe('servers that are replaced', () => {
  it('are away by themselves: none waits until another has finished its calls', async () => {
    const of = engine({ servers: { quick: server('quick'), slow: server('slow', 400) } });
    await of.start();
    const busy = textOf(of.callTool('slow__t'));
    await pause(20);
    let over = false;
    const change = of
      .reconfigure({
        servers: { quick: { ...server('quick'), weight: 2 }, slow: { ...server('slow', 400), weight: 2 } },
      })
      .then(() => {
        over = true;
      });
    expect(await textOf(of.callTool('quick__t'))).toBe('quick');
    expect(over).toBe(false);
    expect(await busy).toBe('slow');
    await change;
    expect(of.fleet.servers.map(({ name }) => name)).toEqual(['quick', 'slow']);
  });

  it('keep nobody waiting who is added: not over their calls, nor over a start that takes its time', async () => {
    const hangs = { ...server('a', 600), weight: 2 };
    const of = engine({ servers: { a: server('a', 600) } });
    await of.start();
    const busy = textOf(of.callTool('a__t'));
    await pause(20);
    let over = false;
    const change = of.reconfigure({ servers: { a: hangs, b: server('b') } }).then(() => {
      over = true;
    });
    await pause(20);
    expect(await textOf(of.callTool('b__t', {}, { timeoutMs: 2_000 }))).toBe('b');
    expect(over).toBe(false);
    expect(await busy).toBe('a');
    await change;
    expect(of.fleet.servers.map(({ name }) => name)).toEqual(['a', 'b']);
  });

  it('do not say that the engine has stopped', async () => {
    const of = engine({ servers: { s: { ...server('s', 300), retry: false } } });
    await of.start();
    const busy = textOf(of.callTool('s__t'));
    await pause(20);
    const change = of.reconfigure({ servers: { s: { ...server('s'), weight: 2 } } });
    await pause(20);
    const refused = await failureOf(of.callTool('s__t'));
    expect(refused).toMatchObject({ code: 'unavailable', delivery: 'unsent' });
    expect(refused.message).toContain('is being replaced');
    expect(await busy).toBe('s');
    await change;
    expect(await textOf(of.callTool('s__t'))).toBe('s');
  });

  it('have the slots per tool of the new configuration', async () => {
    const atWork = { now: 0, most: 0 };
    const with_ = (perTool: number): { servers: Record<string, ServerConfig> } => ({
      servers: { s: { ...server('s', 20, atWork), admission: { perTool } } },
    });
    const of = engine(with_(1));
    await of.start();
    const most = async (): Promise<number> => {
      atWork.most = 0;
      await Promise.all([1, 2, 3, 4].map(() => of.callTool('s__t')));
      return atWork.most;
    };
    expect(await most()).toBe(1);
    await of.reconfigure(with_(3));
    expect(await most()).toBe(3);
  });
});

describe('stopping', () => {
  it('ends who waits for a turn or for another attempt, and leaves no timer of theirs', async () => {
    const of = engine({ servers: { s: { ...server('s'), rateLimit: { perSecond: 0.1, burst: 1 } } } });
    await of.start();
    await of.callTool('s__t');
    const waiting = failureOf(of.callTool('s__t'));
    await pause(20);
    await of.stop({ graceMs: 100 });
    const late = pause(1_000).then(() => 'late');
    expect(await Promise.race([waiting, late])).toMatchObject({ code: 'stopped', delivery: 'unsent' });
  });
});

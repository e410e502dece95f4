import { afterEach, describe, expect, it } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { RpcMessage } from '../../../lib/core/json-rpc.ts';
import { createAutoHttpChannel } from '../../../lib/mcp/transports/auto-http.ts';
import { createSseChannel } from '../../../lib/mcp/transports/sse.ts';
import { createStreamableHttpChannel } from '../../../lib/mcp/transports/streamable-http.ts';
import {
  INITIALIZE,
  INITIALIZED,
  failure,
  openChannel,
  request,
  type OpenChannel,
} from '../../support/http-fixture.ts';

const children: ChildProcess[] = [];
const opened: OpenChannel[] = [];

/** The official everything server, a real child on a real port. */
async function start(kind: 'streamableHttp' | 'sse'): Promise<{ url: URL; child: ChildProcess }> {
  const preload = new URL('../../support/http-loopback.mjs', import.meta.url).href;
  const program = 'node_modules/@modelcontextprotocol/server-everything/dist/index.js';
  const child = spawn(process.execPath, ['--import', preload, program, kind], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  children.push(child);
  const port = await new Promise<string>((resolve, reject) => {
    let text = '';
    child.once('exit', (code) => reject(new Error(`the server ended with ${code}`)));
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const found = /listening (\d+)/.exec(text)?.[1];
      if (found !== undefined) resolve(found);
    });
  });
  return { url: new URL(`http://127.0.0.1:${port}/${kind === 'sse' ? 'sse' : 'mcp'}`), child };
}

async function open(create: Parameters<typeof openChannel>[0], url: URL): Promise<OpenChannel> {
  const pair = await openChannel(create, url);
  opened.push(pair);
  await pair.channel.send(INITIALIZE);
  const answer = await answerTo(pair, 'init');
  expect(answer).toMatchObject({ result: { serverInfo: { name: expect.stringContaining('everything') } } });
  pair.channel.setProtocolVersion('2025-11-25');
  await pair.channel.send(INITIALIZED);
  return pair;
}

async function answerTo({ receiver }: OpenChannel, id: string | number): Promise<RpcMessage | undefined> {
  const find = (): RpcMessage | undefined => receiver.messages.find((m) => !('method' in m) && m.id === id);
  await receiver.until(() => find() !== undefined, 20_000);
  return find();
}

const echo = (id: number, message: string): ReturnType<typeof request> =>
  request(id, 'tools/call', { name: 'echo', arguments: { message } });

afterEach(async () => {
  for (const { channel } of opened.splice(0)) await channel.close(500);
  for (const child of children.splice(0)) {
    const gone = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : undefined;
    child.kill('SIGKILL');
    await gone;
  }
}, 30_000);

describe('the everything server', () => {
  it.each([
    ['Streamable HTTP', 'streamableHttp', createStreamableHttpChannel],
    ['HTTP+SSE', 'sse', createSseChannel],
  ] as const)(
    'answers over %s, until it is killed',
    async (_name, kind, create) => {
      const { url, child } = await start(kind);
      const pair = await open(create, url);
      const { channel, receiver } = pair;
      await Promise.all(Array.from({ length: 20 }, async (_, id) => channel.send(echo(id, `n${id}`))));
      for (let id = 0; id < 20; id += 1) {
        expect(await answerTo(pair, id)).toMatchObject({ result: { content: [{ text: `Echo: n${id}` }] } });
      }
      await channel.send(
        request('long', 'tools/call', {
          name: 'trigger-long-running-operation',
          arguments: { duration: 60, steps: 5 },
          _meta: { progressToken: 'p' },
        }),
      );
      child.kill('SIGKILL');
      await receiver.until(() => receiver.unanswered.length + receiver.closes.length > 0);
      // Streamable HTTP tells each request (this server keeps events: after its stream could not be resumed), SSE all at once.
      const told = receiver.closes[0] ?? receiver.unanswered[0]?.[1];
      expect(told).toMatchObject({ code: 'connection_lost', delivery: 'sent' });
      expect(receiver.closes).toHaveLength(kind === 'sse' ? 1 : 0);
      const refused = failure((async () => channel.send(echo(99, 'x')))());
      expect(await refused).toMatchObject({ code: 'unavailable', delivery: 'unsent' });
    },
    60_000,
  );

  it('is found out to speak HTTP+SSE only', async () => {
    const { url } = await start('sse');
    const pair = await open(createAutoHttpChannel, url);
    expect(pair.channel.kind).toBe('sse');
    await pair.channel.send(echo(1, 'auto'));
    expect(await answerTo(pair, 1)).toMatchObject({ result: { content: [{ text: 'Echo: auto' }] } });
  }, 60_000);

  it('forgets a session that was deleted: our next one is told so', async () => {
    const { url } = await start('streamableHttp');
    const pair = await open(createAutoHttpChannel, url);
    const session = pair.channel.sessionId ?? '';
    expect(pair.channel.kind).toBe('streamable-http');
    const response = await fetch(url, { method: 'DELETE', headers: { 'mcp-session-id': session } });
    expect(response.ok).toBe(true);
    expect(await failure(pair.channel.send(echo(1, 'x')))).toMatchObject({
      code: 'connection_lost',
      delivery: 'unsent',
      data: { reason: 'session_expired' },
    });
    await pair.receiver.until(() => pair.receiver.closes.length === 1);
  }, 60_000);
});

import { afterEach, describe, expect, it } from '@jest/globals';
import type { ServerResponse } from 'node:http';
import { createAutoHttpChannel } from '../../../lib/mcp/transports/auto-http.ts';
import {
  INITIALIZE,
  createHttpFixture,
  event,
  failure,
  handshake,
  json,
  legacy,
  openChannel,
  request,
  result,
  stream,
  text,
  type HttpFixture,
  type OpenChannel,
  type Script,
} from '../../support/http-fixture.ts';

const opened: { channel: OpenChannel['channel']; fixture: HttpFixture }[] = [];

async function open(script: Script): Promise<OpenChannel & { fixture: HttpFixture }> {
  const fixture = await createHttpFixture(script);
  const pair = { ...(await openChannel(createAutoHttpChannel, fixture.url)), fixture };
  opened.push(pair);
  return pair;
}

/** HTTP+SSE on `/mcp`; a POST there gets `status`. */
function sseOnly(
  status: number,
  refuse: Script = (_seen, response) => text(response, status, 'Cannot POST /mcp'),
): Script {
  let out: ServerResponse | undefined;
  return (seen, response) => {
    if (seen.method === 'GET') {
      out = stream(response);
      out.write('event: endpoint\ndata: /messages\n\n');
    } else if (seen.path === '/messages') {
      text(response, 202);
      if (seen.body?.id !== undefined && out !== undefined) event(out, result(seen, { on: 'sse' }));
    } else refuse(seen, response);
  };
}

afterEach(async () => {
  for (const { channel, fixture } of opened.splice(0)) {
    await channel.close(0);
    await fixture.until(() => fixture.sockets === 0);
    await fixture.close();
  }
});

describe('an HTTP URL without a type', () => {
  it('is spoken to in Streamable HTTP where that works', async () => {
    const pair = await open(
      legacy((seen, response) => {
        if (seen.method === 'POST') json(response, result(seen));
        else text(response, 405);
      }),
    );
    await handshake(pair);
    await pair.channel.send(request(1));
    await pair.receiver.until(() => pair.receiver.messages.length === 1);
    expect([pair.channel.kind, pair.channel.streamPerRequest, pair.channel.sessionId]).toEqual([
      'streamable-http',
      true,
      'session-1',
    ]);
    expect(pair.fixture.of('POST').every((s) => s.path === '/mcp')).toBe(true);
  });

  it.each([400, 404, 405])('falls back to HTTP+SSE when initialize is refused with %i', async (status) => {
    const { channel, receiver, fixture } = await open(sseOnly(status));
    expect(await failure(channel.send(request('probe', 'server/discover', {})))).toMatchObject({
      data: { status },
    });
    expect(channel.kind).toBe('streamable-http');
    await channel.send(INITIALIZE);
    await receiver.until(() => receiver.messages.length === 1);
    expect(receiver.messages).toEqual([{ jsonrpc: '2.0', id: 'init', result: { on: 'sse' } }]);
    expect([channel.kind, channel.streamPerRequest]).toEqual(['sse', false]);
    expect(receiver.closes).toEqual([]);
    await channel.sendBatch?.([request(1), request(2)]);
    await receiver.until(() => receiver.messages.length === 3);
    expect(fixture.of('POST').map((s) => s.path)).toEqual([
      '/mcp',
      '/mcp',
      '/messages',
      '/messages',
      '/messages',
    ]);
    await channel.close(0);
    expect(receiver.closes).toHaveLength(1);
  });

  it.each([401, 500, 503])('does not take %i for a sign of HTTP+SSE', async (status) => {
    const { channel, fixture } = await open(sseOnly(status));
    expect(await failure(channel.send(INITIALIZE))).toMatchObject({ data: { status } });
    expect(fixture.of('GET')).toEqual([]);
  });

  it('reports the first refusal when it speaks neither', async () => {
    const { channel, receiver } = await open((_seen, response) => text(response, 404, 'no such page'));
    const error = await failure(channel.send(INITIALIZE));
    expect(error).toMatchObject({
      code: 'protocol_error',
      data: { status: 404 },
      cause: { data: { status: 404 } },
    });
    expect(receiver.closes).toEqual([]);
    expect(channel.kind).toBe('streamable-http');
  });

  it('does not switch once something was accepted', async () => {
    const { channel, fixture } = await open(
      sseOnly(404, (seen, response) => {
        if (seen.body?.method === 'initialize') text(response, 404);
        else json(response, result(seen));
      }),
    );
    await channel.send(request(1, 'server/discover'));
    expect(await failure(channel.send(INITIALIZE))).toMatchObject({ data: { status: 404 } });
    expect(fixture.of('GET')).toEqual([]);
  });

  it('keeps a JSON-RPC answer with an error status for an answer', async () => {
    const { channel, receiver, fixture } = await open(
      sseOnly(400, (seen, response) =>
        json(response, { jsonrpc: '2.0', id: seen.body?.id, error: { code: -32602, message: 'no' } }, 400),
      ),
    );
    await channel.send(INITIALIZE);
    expect(receiver.messages).toMatchObject([{ id: 'init', error: { code: -32602 } }]);
    expect(fixture.of('GET')).toEqual([]);
  });

  it('closes in the middle of the switch', async () => {
    const { channel, receiver, fixture } = await open((seen, response) => {
      if (seen.method === 'GET') stream(response);
      else text(response, 404);
    });
    const sending = failure(channel.send(INITIALIZE));
    await fixture.until(() => fixture.of('GET').length === 1);
    await channel.close(0);
    expect(await sending).toMatchObject({ code: 'protocol_error' });
    expect(receiver.closes).toHaveLength(1);
  });

  it('tells once that the event stream was lost', async () => {
    const { channel, receiver, fixture } = await open(sseOnly(405));
    await channel.send(INITIALIZE);
    fixture.reset();
    await receiver.until(() => receiver.closes.length === 1);
    await channel.close(0);
    expect(receiver.closes).toMatchObject([{ code: 'connection_lost' }]);
  });
});

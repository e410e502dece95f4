/* oxlint-disable unicorn/prefer-add-event-listener -- a transport of the SDK has callback properties, no listeners */
import { describe, it, expect } from '@jest/globals';
import { Client } from '@modelcontextprotocol/client';
import type { Transport } from '@modelcontextprotocol/client';
import fc from 'fast-check';
import type { RpcMessage } from '../../../lib/core/json-rpc.ts';
import { createMemoryPair } from '../../../lib/mcp/transports/memory-pair.ts';
import { createScriptedPeer } from '../../support/scripted-peer.ts';

const note = (n: number): RpcMessage => ({ jsonrpc: '2.0', method: 'n', params: { n } });
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('createMemoryPair', () => {
  it('hands messages over by reference, never inside send', async () => {
    const [a, b] = createMemoryPair();
    const got: RpcMessage[] = [];
    b.onmessage = (m) => void got.push(m);
    await b.start();
    const message = note(1);
    const sent = a.send(message);
    expect(got).toEqual([]);
    await sent;
    await turn();
    expect(got[0]).toBe(message);
  });

  it('keeps what was sent before the other end started', async () => {
    const [a, b] = createMemoryPair();
    await a.send(note(1));
    await a.send(note(2));
    await turn();
    const got: RpcMessage[] = [];
    b.onmessage = (m) => void got.push(m);
    await b.start();
    await turn();
    expect(got).toEqual([note(1), note(2)]);
  });

  it('delivers each of 1000 messages once and in order, whatever the bursts', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat({ max: 40 }), { minLength: 1, maxLength: 50 }), async (bursts) => {
        const [a, b] = createMemoryPair();
        const there: number[] = [];
        const back: number[] = [];
        b.onmessage = (m) => {
          const n = 'params' in m ? Number(m.params?.['n']) : -1;
          there.push(n);
          void b.send(note(n));
        };
        a.onmessage = (m) => void back.push('params' in m ? Number(m.params?.['n']) : -1);
        await Promise.all([a.start(), b.start()]);
        let n = 0;
        for (let i = 0; n < 1000; i += 1) {
          const size = Math.min(1000 - n, (bursts[i % bursts.length] ?? 0) + 1);
          for (let k = 0; k < size; k += 1) void a.send(note((n += 1)));
          if (i % 3 === 0) await Promise.resolve();
        }
        while (back.length < 1000) await turn();
        await turn();
        const expected = Array.from({ length: 1000 }, (_, i) => i + 1);
        expect(there).toEqual(expected);
        expect(back).toEqual(expected);
      }),
      { numRuns: 5 },
    );
  });

  it('lets timers run while two ends talk without a pause', async () => {
    const [a, b] = createMemoryPair();
    let stop = false;
    a.onmessage = (m) => void (stop || a.send(m));
    b.onmessage = (m) => void b.send(m).catch(() => {});
    await Promise.all([a.start(), b.start()]);
    await a.send(note(1));
    await new Promise((resolve) => setTimeout(resolve, 5));
    stop = true;
    expect(await a.close()).toBeUndefined();
  });

  it('closes the other end after what was under way, once each', async () => {
    const [a, b] = createMemoryPair();
    const log: string[] = [];
    a.onclose = () => void log.push('a closed');
    b.onclose = () => void log.push('b closed');
    b.onmessage = () => {
      log.push('b got one');
      void b.send(note(2)).catch((error: Error) => log.push(error.message));
    };
    await Promise.all([a.start(), b.start()]);
    void a.send(note(1));
    await a.close();
    await a.close();
    await turn();
    await b.close();
    expect(log).toEqual(['a closed', 'b got one', 'b closed', 'Not connected']);
    await expect(a.send(note(3))).rejects.toThrow('Not connected');
    await expect(a.start()).rejects.toThrow('Not connected');
  });

  it('survives a listener that throws', async () => {
    const [a, b] = createMemoryPair();
    const errors: Error[] = [];
    let count = 0;
    b.onerror = (error) => void errors.push(error);
    b.onmessage = () => {
      count += 1;
      if (count === 1) throw new Error('boom');
    };
    await b.start();
    void a.send(note(1));
    await a.send(note(2));
    await turn();
    expect(count).toBe(2);
    expect(errors.map((e) => e.message)).toEqual(['boom']);
  });
});

describe('createScriptedPeer', () => {
  const connect = async (transport: Transport, mode: 'auto' | 'legacy'): Promise<Client> => {
    const client = new Client({ name: 'c', version: '1' }, { versionNegotiation: { mode } });
    await client.connect(transport);
    return client;
  };

  it('answers the legacy handshake and lists by itself, a call as told', async () => {
    const peer = createScriptedPeer({ tools: ['echo'], protocolVersion: '2025-06-18' });
    const client = await connect(peer.transport, 'auto');
    expect(client.getNegotiatedProtocolVersion()).toBe('2025-06-18');
    expect((await client.listTools()).tools.map((t) => t.name)).toEqual(['echo']);
    const call = client.callTool({ name: 'echo', arguments: { n: 1 } });
    const request = await peer.expectRequest('tools/call').reply((r) => ({
      content: [{ type: 'text', text: JSON.stringify(r.params?.['arguments']) }],
    }));
    expect(request.params?.['name']).toBe('echo');
    expect((await call).content).toEqual([{ type: 'text', text: '{"n":1}' }]);

    const failing = client.callTool({ name: 'echo' });
    await Promise.all([
      expect(failing).rejects.toMatchObject({ code: -32000, data: { why: 1 } }),
      peer.expectRequest('tools/call').fail(-32000, 'no', { why: 1 }),
    ]);
    await client.close();
  });

  it('speaks the modern era, listen included', async () => {
    const peer = createScriptedPeer({ era: 'modern', tools: ['echo'] });
    const client = await connect(peer.transport, 'auto');
    expect(client.getNegotiatedProtocolVersion()).toBe('2026-07-28');
    const changed = new Promise<void>((resolve) => {
      client.setNotificationHandler('notifications/tools/list_changed', () => resolve());
    });
    await client.listen({ toolsListChanged: true });
    peer.notify('notifications/tools/list_changed');
    await changed;
    await client.close();
  });

  it('asks the client, and ends by itself', async () => {
    const peer = createScriptedPeer();
    const client = new Client({ name: 'c', version: '1' }, { capabilities: { roots: {} } });
    client.setRequestHandler('roots/list', () => ({ roots: [{ uri: 'file:///r' }] }));
    await client.connect(peer.transport);
    expect(await peer.request('roots/list')).toEqual({ roots: [{ uri: 'file:///r' }] });
    const lost = client.callTool({ name: 'x' });
    await Promise.all([
      expect(lost).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' }),
      peer.expectRequest('tools/call').die(),
    ]);
    expect(peer.connections).toBe(1);
  });
});

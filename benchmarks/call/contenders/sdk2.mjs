/** The official client 2.x as its README shows it: one client, `callTool`. */
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { memoryPeer } from '../peers/memory-peer.mjs';

export async function open({ transport, program, url }) {
  const client = new Client({ name: 'bench', version: '1.0.0' });
  const wire =
    transport === 'memory'
      ? memoryPeer()
      : transport === 'stdio'
        ? new StdioClientTransport({ ...program, stderr: 'ignore' })
        : new StreamableHTTPClientTransport(new URL(url));
  await client.connect(wire);
  await client.listTools();
  return {
    call: (name, args) => client.callTool({ name, arguments: args }),
    close: () => client.close(),
    pid: wire.pid,
  };
}

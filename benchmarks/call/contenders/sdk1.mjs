/** The official client 1.x as its README shows it: one client, `callTool`. */
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { opened } from './opened.mjs';
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
  // A host keeps the list: it has to show it to its model.
  const { tools } = await client.listTools();
  return {
    tools,
    call: (args, options) => client.callTool({ name: 'echo', arguments: args }, undefined, options),
    close: () => client.close(),
    pid: wire.pid,
  };
}

export async function openAll(programs) {
  return opened(await Promise.all(programs.map((program) => open({ transport: 'stdio', program }))));
}

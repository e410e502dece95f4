/**
 * Each library as its own documentation calls it: `open` starts all servers and lists their tools, `call` calls the tool
 * `echo` of one of them. Nothing is tuned, no option is set that its first example does not set.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';

const map = (servers, shape) => Object.fromEntries(servers.map((server, i) => [`s${i}`, shape(server)]));
const plain = ({ command, args }) => ({ command, args });

export const CONTENDERS = {
  'mcp-troupe': async (servers, { packed }) => {
    const { createEngine } = await import(packed);
    const engine = createEngine({ servers: map(servers, plain) });
    return {
      async open() {
        await engine.start();
        await engine.listTools();
      },
      call: (i, args) => engine.callTool(`s${i}__echo`, args),
      close: () => engine.stop(),
    };
  },

  'official client 2.x': async (servers) => {
    const { Client } = await import('@modelcontextprotocol/client');
    const { StdioClientTransport } = await import('@modelcontextprotocol/client/stdio');
    const clients = servers.map(() => new Client({ name: 'host', version: '1.0.0' }));
    return {
      open: () =>
        Promise.all(
          clients.map(async (client, i) => {
            await client.connect(new StdioClientTransport({ ...plain(servers[i]), stderr: 'ignore' }));
            await client.listTools();
          }),
        ),
      call: (i, args) => clients[i].callTool({ name: 'echo', arguments: args }),
      close: () => Promise.all(clients.map((client) => client.close())),
    };
  },

  '@langchain/mcp-adapters': async (servers) => {
    const { MultiServerMCPClient } = await import('@langchain/mcp-adapters');
    const client = new MultiServerMCPClient({
      mcpServers: map(servers, (server) => ({ transport: 'stdio', ...plain(server) })),
      prefixToolNameWithServerName: true,
    });
    let tools;
    return {
      async open() {
        tools = new Map((await client.getTools()).map((tool) => [tool.name, tool]));
      },
      call(i, args) {
        const tool = [...tools.values()].find(({ name }) => name.includes(`s${i}__echo`));
        return tool.invoke(args);
      },
      close: () => client.close(),
    };
  },

  '@ai-sdk/mcp': async (servers) => {
    const { createMCPClient } = await import('@ai-sdk/mcp');
    const { Experimental_StdioMCPTransport: Stdio } = await import('@ai-sdk/mcp/mcp-stdio');
    const clients = [];
    const tools = [];
    return {
      open: () =>
        Promise.all(
          servers.map(async (server, i) => {
            clients[i] = await createMCPClient({ transport: new Stdio(plain(server)) });
            tools[i] = await clients[i].tools();
          }),
        ),
      call: (i, args) => {
        if (tools[i] === undefined) throw new Error('not ready');
        return tools[i].echo.execute(args, { toolCallId: '1', messages: [] });
      },
      close: () => Promise.all(clients.map((client) => client?.close())),
    };
  },

  '@mastra/mcp': async (servers) => {
    const { MCPClient } = await import('@mastra/mcp');
    const client = new MCPClient({ id: `bench-${process.pid}`, servers: map(servers, plain) });
    let sets;
    return {
      async open() {
        const listed = await client.listToolsets();
        sets = listed.toolsets ?? listed;
      },
      call: (i, args) => sets[`s${i}`].echo.execute(args, {}),
      close: () => client.disconnect(),
    };
  },

  'mcp-use': async (servers) => {
    const { MCPClient } = await import('mcp-use/client');
    const client = new MCPClient({ mcpServers: map(servers, plain) });
    let sessions;
    return {
      async open() {
        sessions = await client.createAllSessions();
      },
      call: (i, args) => sessions[`s${i}`].callTool('echo', args),
      close: () => client.closeAllSessions(),
    };
  },

  'mcp-hub (a process, over REST)': async (servers, { scratch }) => {
    const config = `${scratch}/hub.json`;
    writeFileSync(config, JSON.stringify({ mcpServers: map(servers, plain) }));
    const port = await freePort();
    const base = `http://127.0.0.1:${port}/api`;
    const cli = fileURLToPath(new URL('cli.js', import.meta.resolve('mcp-hub')));
    let hub;
    const post = async (path, body) => {
      const response = await fetch(`${base}${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      const answer = await response.json();
      if (!response.ok) throw new Error(answer.error ?? response.statusText);
      return answer;
    };
    return {
      async open() {
        const env = {
          ...process.env,
          XDG_STATE_HOME: scratch,
          XDG_DATA_HOME: scratch,
          XDG_CONFIG_HOME: scratch,
        };
        hub = spawn(process.execPath, [cli, '--port', String(port), '--config', config], {
          stdio: 'ignore',
          env,
        });
        for (;;) {
          const health = await fetch(`${base}/health`).then(
            (r) => r.json(),
            () => undefined,
          );
          const ready = health?.servers?.filter(({ status }) => status === 'connected').length ?? 0;
          if (ready === servers.length) return;
          await new Promise((resolve) => void setTimeout(resolve, 5));
        }
      },
      call: (i, args) => post('/servers/tools', { server_name: `s${i}`, tool: 'echo', arguments: args }),
      async close() {
        hub.kill();
        await once(hub, 'exit');
      },
    };
  },
};

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

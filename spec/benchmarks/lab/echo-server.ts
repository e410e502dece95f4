import { McpServer } from '@modelcontextprotocol/server';

/** An in-process server with one tool. */
export function createServer(): McpServer {
  const server = new McpServer({ name: 'echo', version: '1.0.0' });
  server.registerTool('echo', { description: 'Answers.' }, () => ({
    content: [{ type: 'text', text: 'here' }],
  }));
  return server;
}

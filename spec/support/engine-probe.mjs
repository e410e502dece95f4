/**
 * `tsx engine-probe.mjs HTTP_URL WS_URL`: a host that uses an engine with every transport, stops it, and writes what is
 * left as one line of JSON. It must then end by itself.
 */
import { writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { McpServer } from '@modelcontextprotocol/server';
import { createEngine } from '../../lib/index.ts';

const [http, ws, sse] = process.argv.slice(2);
const stdio = fileURLToPath(new URL('bad-stdio.mjs', import.meta.url));
const troubles = [];
for (const event of ['uncaughtException', 'unhandledRejection', 'warning']) {
  process.on(event, (error) => troubles.push(`${event}: ${String(error?.stack ?? error)}`));
}
const listeners = () =>
  Object.fromEntries(process.eventNames().map((name) => [String(name), process.listenerCount(name)]));
const before = { listeners: listeners(), resources: process.getActiveResourcesInfo() };

const engine = createEngine({
  restart: { baseMs: 20, jitter: 0, intensity: 100 },
  host: { sample: () => ({ role: 'assistant', model: 'm', content: { type: 'text', text: 'as you like' } }) },
  servers: {
    stdio: { command: process.execPath, args: [stdio, 'good'] },
    family: { command: process.execPath, args: [stdio, 'family'] },
    stubborn: { command: process.execPath, args: [stdio, 'ignore-sigterm'] },
    broken: { command: process.execPath, args: [stdio, 'exit', '3'] },
    missing: { command: 'no-such-program-anywhere' },
    http: { url: http },
    ws: { url: ws, type: 'ws' },
    sse: { url: sse, type: 'sse' },
    local: {
      server() {
        const server = new McpServer({ name: 'local', version: '1.0.0' });
        server.registerTool('hello', { description: 'says hello' }, () => ({
          content: [{ type: 'text', text: 'hello' }],
        }));
        return server;
      },
    },
  },
});
const fleet = [];
engine.fleet$.subscribe((snapshot) => fleet.push(snapshot));
await engine.start();
const connected = engine.fleet.connections.filter(({ state }) => state === 'Connected').map(({ id }) => id);
for (const server of connected)
  if (server !== 'local') await engine.callTool(`${server}__echo`, { message: 'hi' });
await engine.callTool('local__hello');
await engine.subscribeResource('mini://a', () => {}, { servers: ['stdio'] });
const pending = [engine.callTool('stdio__hang'), engine.callTool('http__hang'), engine.callTool('ws__hang')];
for (const promise of pending) promise.catch(() => {});
process.kill(engine.connection('stdio').process.pid, 'SIGKILL');
await pending[0].catch(() => {});
await engine.stop({ graceMs: 1_000 });
const ended = await Promise.allSettled(pending);
// The handle of what has ended is closed a turn or two later.
const more = () => {
  const left = process.getActiveResourcesInfo();
  for (const known of before.resources) if (left.includes(known)) left.splice(left.indexOf(known), 1);
  return left.length > 0;
};
for (let i = 0; i < 50 && more(); i += 1) {
  await new Promise((resolve) => setTimeout(resolve, 10));
}
const after = { listeners: listeners(), resources: process.getActiveResourcesInfo() };
writeSync(
  1,
  `${JSON.stringify({ before, after, connected, troubles, ended: ended.map(({ reason }) => reason?.code) })}\n`,
);
process.on('exit', () => {
  if (troubles.length > 0) writeSync(2, troubles.join('\n'));
});

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** The HTTP peer in a process of its own. */
export async function startHttpPeer() {
  const script = fileURLToPath(new URL('http-peer.mjs', import.meta.url));
  const child = spawn(process.execPath, [script], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { PATH: process.env.PATH },
  });
  const [port] = await once(child.stdout.setEncoding('utf8'), 'data');
  return { url: `http://127.0.0.1:${Number(port)}/mcp`, pid: child.pid, stop: () => child.kill() };
}

import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** The floor: JSON lines over pipes with ids in a map, and nothing of what makes a client. */
export interface BareClient {
  request(method: string, params?: unknown): Promise<unknown>;
  close(): Promise<void>;
}

export function openBare(program: {
  readonly command: string;
  readonly args: readonly string[];
}): BareClient {
  // Few variables, as the engine and the SDK clients give: some (extra certificates) make Node start much slower.
  const env = { PATH: process.env['PATH'], HOME: process.env['HOME'] };
  const child = spawn(program.command, program.args, { stdio: ['pipe', 'pipe', 'ignore'], env });
  const pending = new Map<number, (result: unknown) => void>();
  let next = 1;
  let rest = '';
  child.stdout.setEncoding('utf8');
  child.stdout.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const { id, result } = JSON.parse(line) as { id: number; result: unknown };
      pending.get(id)?.(result);
      pending.delete(id);
    }
  });
  const exited = once(child, 'exit');
  return {
    request(method, params) {
      const id = next++;
      return new Promise((resolve) => {
        pending.set(id, resolve);
        child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`);
      });
    },
    async close() {
      child.stdin.end();
      await exited;
    },
  };
}

export const INITIALIZE = {
  protocolVersion: '2025-11-25',
  capabilities: {},
  clientInfo: { name: 'bare', version: '1.0.0' },
} as const;

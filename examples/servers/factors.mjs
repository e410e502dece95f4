/**
 * A small MCP server on stdio, on the official SDK: it takes a number apart. Every answer says which process gave it, so
 * that several copies of it can be told from each other. Started with plain Node, by the examples and the main job.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { McpServer } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { z } from 'zod';

function factorsOf(n) {
  const factors = [];
  let rest = n;
  for (let p = 2; p * p <= rest; p++) {
    while (rest % p === 0) {
      factors.push(p);
      rest /= p;
    }
  }
  return rest > 1 ? [...factors, rest] : factors;
}

serveStdio(() => {
  const server = new McpServer({ name: 'factors', version: '1.0.0' });
  server.registerTool(
    'factor',
    {
      description:
        'The prime factors of a whole number. Reports progress, step by step, while it takes its time.',
      inputSchema: z.object({
        n: z.number().int().min(2).max(1e12),
        steps: z.number().int().min(1).max(20).default(1),
        stepMs: z
          .number()
          .int()
          .min(0)
          .default(Number(process.env.STEP_MS ?? 5)),
      }),
      outputSchema: z.object({ factors: z.array(z.number()), pid: z.number() }),
      annotations: { readOnlyHint: true, idempotentHint: true },
    },
    async ({ n, steps, stepMs }, { mcpReq }) => {
      const progressToken = mcpReq._meta?.progressToken;
      for (let step = 1; step <= steps; step++) {
        await pause(stepMs, undefined, { signal: mcpReq.signal });
        if (progressToken === undefined) continue;
        await mcpReq.notify({
          method: 'notifications/progress',
          params: { progressToken, progress: step, total: steps },
        });
      }
      const structuredContent = { factors: factorsOf(n), pid: process.pid };
      return { structuredContent, content: [{ type: 'text', text: structuredContent.factors.join(' × ') }] };
    },
  );
  return server;
});

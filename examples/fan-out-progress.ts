/**
 * Fan-out and progress: one question to every server, a row per server as it answers; a server that is late is a row at
 * the deadline, not an error of the whole. Then one long call that tells how far it is.
 *
 *   npx tsx examples/fan-out-progress.ts
 */
import { lastValueFrom, tap } from 'rxjs';
import { createEngine, type Json } from '../lib/index.ts';
import { factorsServer } from './servers/factors.ts';

const engine = createEngine({
  servers: { one: factorsServer, two: factorsServer, slow: { ...factorsServer, env: { STEP_MS: 60_000 } } },
});
const question = { method: 'tools/call', params: { name: 'factor', arguments: { n: 600_851_475_143 } } };

try {
  await engine.start();

  console.log('one question to all:');
  const rows = engine.fanOut(question, { timeoutMs: 1_000 });
  await lastValueFrom(
    rows.pipe(
      tap((row) =>
        console.log(`  ${row.server.padEnd(5)} ${row.ok ? textOf(row.result) : row.error.message}`),
      ),
    ),
  );

  console.log('one long call:');
  const answer = await engine.callTool(
    'one__factor',
    { n: 97 * 89, steps: 4, stepMs: 50 },
    { onProgress: ({ progress, total }) => console.log(`  ${progress} of ${total}`) },
  );
  console.log(`  ${textOf(answer)}`);

  // The first answer is enough: the others are cancelled.
  const { result, failures } = await engine.aggregate({ ...question, mode: 'first' });
  console.log(`the first answer: ${textOf(result as Json)}, ${failures.length} failures`);
} finally {
  await engine.stop();
}

function textOf(result: Json): string {
  return (result['content'] as Array<{ text: string }>).map(({ text }) => text).join(' ');
}

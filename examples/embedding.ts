/**
 * Embedding: the shortest useful program. An in-process server and a child process answer through one object.
 *
 *   npx tsx examples/embedding.ts
 */
import { createEngine, isTroupeError } from '../lib/index.ts';
import { buildDatabaseServer } from './servers/database.ts';
import { npmServer } from './servers/npm.ts';

const engine = createEngine({
  servers: {
    planets: { server: buildDatabaseServer },
    everything: npmServer('@modelcontextprotocol/server-everything', 'stdio'),
  },
});

try {
  await engine.start();
  const { items, failures } = await engine.listTools();
  console.log(`${items.length} tools, ${failures.length} failures`);

  const largest = await engine.callTool('planets__query', {
    sql: 'SELECT name FROM planet ORDER BY radius_km DESC LIMIT 1',
  });
  console.log('the largest planet here:', JSON.stringify(largest['structuredContent']));

  // One deadline for the whole operation; the error says what is known about the request.
  await engine
    .callTool('everything__trigger-long-running-operation', { duration: 30, steps: 3 }, { timeoutMs: 300 })
    .catch((error: unknown) => {
      if (!isTroupeError(error)) throw error;
      console.log(`${error.code} (${error.delivery}): ${error.detail}`);
    });
} finally {
  await engine.stop();
}

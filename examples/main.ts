/**
 * The main job: `npm start`. Real MCP servers over every transport run as one; a dozen calls of every kind are routed
 * to them; one is killed and comes back, and a server of three replicas loses one without a failed call. Exit code 0
 * only if each expectation held.
 *
 *   npm start                      for people
 *   npm start -- --json            what was measured beside what was expected, as JSON
 *   npm start -- --break memory    starts one server in a way that cannot work: exit code 1
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { lastValueFrom, toArray } from 'rxjs';
import { createEngine, type Engine, type Json } from '../lib/index.ts';
import { Expectations, eventually } from './main/expectations.ts';
import { startDemoFleet } from './main/fleet.ts';
import { Screen } from './main/screen.ts';

const { values: options } = parseArgs({
  options: { json: { type: 'boolean', default: false }, break: { type: 'string' } },
});

const screen = new Screen({ silent: options.json });
const checks = new Expectations((finding) => screen.finding(finding));
const demo = await startDemoFleet(options.break).catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exit(2);
});
const asked: string[] = [];
const engine = createEngine({
  servers: demo.servers,
  host: {
    sample: (params, { server }) => {
      asked.push(server);
      const wanted = JSON.stringify(params['messages']);
      return {
        role: 'assistant',
        model: 'demo',
        content: { type: 'text', text: `sampled for ${server}: ${wanted.length} characters` },
      };
    },
    elicit: () => ({ action: 'decline' }),
    roots: [{ uri: `file://${demo.directory}`, name: 'demo' }],
    log: () => {},
  },
});
engine.on('connection.changed', (event) => screen.transition(event));

const began = performance.now();
try {
  const names = Object.keys(demo.servers);
  screen.title(`Starting ${names.length} servers over stdio, Streamable HTTP, SSE, WebSocket and in process`);
  const fleet = await engine.start();
  for (const { id, state, error } of fleet.connections) {
    await checks.expect(
      `${id} is Connected`,
      'Connected',
      () => (error === undefined ? state : `${state}: ${error.detail}`),
      (s) => s === 'Connected',
    );
  }
  screen.title('The aggregated catalog');
  await showCatalog(engine, names.length);
  screen.title('Routed calls');
  await calls(engine);
  screen.title('Killing the memory server (kill -9)');
  await killAndRecover(engine);
  screen.title('Killing one of three replicas under load (kill -9)');
  await loseReplica(engine);
  screen.title(`The fleet after ${((performance.now() - began) / 1000).toFixed(1)} s`);
  screen.fleet(engine.fleet);
} finally {
  await engine.stop();
  await demo.close();
}

const { failed, findings } = checks;
if (options.json) {
  process.stdout.write(
    `${JSON.stringify({ held: failed.length === 0, seconds: (performance.now() - began) / 1000, findings }, undefined, 2)}\n`,
  );
} else {
  screen.title(
    failed.length === 0
      ? `All ${findings.length} expectations held.`
      : `${failed.length} of ${findings.length} expectations failed:`,
  );
  for (const { what } of failed) screen.text(what);
}
for (const { what, expected, measured } of failed)
  console.error(`failed: ${what}: expected ${expected}, measured ${measured}`);
process.exitCode = failed.length === 0 ? 0 : 1;

async function showCatalog(engine: Engine, servers: number): Promise<void> {
  const lists = {
    tools: await engine.listTools(),
    resources: await engine.listResources(),
    templates: await engine.listResourceTemplates(),
    prompts: await engine.listPrompts(),
  };
  for (const [kind, { items, failures }] of Object.entries(lists)) {
    const per = new Map<string, number>();
    for (const { server } of items) per.set(server, (per.get(server) ?? 0) + 1);
    screen.text(
      `${kind.padEnd(10)} ${String(items.length).padStart(3)}   ${[...per].map(([name, n]) => `${name} ${n}`).join(', ')}`,
    );
    await checks.expect(
      `every server lists its ${kind}`,
      'no failures',
      () => failures.map((f) => f.server),
      (f) => f.length === 0,
    );
  }
  const names = lists.tools.items.map((tool) => tool.name);
  await checks.expect(
    'each tool has a name of its own',
    'no name twice',
    () => names.length - new Set(names).size,
    (n) => n === 0,
  );
  await checks.expect(
    'every server offers a tool',
    `${servers} servers`,
    () => new Set(lists.tools.items.map((t) => t.server)).size,
    (n) => n === servers,
  );
}

async function calls(engine: Engine): Promise<void> {
  const file = join(demo.directory, 'hello.txt');
  await checks.expect(
    'a call over stdio',
    'Echo: hello',
    () => text(engine.callTool('everything__echo', { message: 'hello' })),
    is('Echo: hello'),
  );
  await checks.expect(
    'a call over Streamable HTTP',
    'a sum of 42',
    () => text(engine.callTool('everything-http__get-sum', { a: 40, b: 2 })),
    contains('42'),
  );
  await checks.expect(
    'a call over HTTP+SSE',
    'Echo: sse',
    () => text(engine.callTool('everything-sse__echo', { message: 'sse' })),
    is('Echo: sse'),
  );
  await checks.expect(
    'a call over WebSocket',
    'a time',
    () => text(engine.callTool('clock__now', { zone: 'UTC' })),
    contains(':'),
  );
  await checks.expect(
    'a query in process, structured and checked',
    '3 rows',
    async () =>
      (
        await engine.callTool('planets__query', {
          sql: 'SELECT name FROM planet WHERE radius_km > ? ORDER BY name',
          parameters: [3000],
        })
      )['structuredContent'] as Json,
    (content) => (content['rows'] as unknown[]).length === 3,
  );
  await checks.expect(
    'progress, the last one too',
    '1, 2, 3, 4',
    async () => {
      const seen: number[] = [];
      await engine.callTool(
        'everything__trigger-long-running-operation',
        { duration: 0.4, steps: 4 },
        { onProgress: ({ progress }) => seen.push(progress) },
      );
      return seen.join(', ');
    },
    is('1, 2, 3, 4'),
  );
  await checks.expect(
    'the server asks the host for a sample',
    'an answer for everything',
    async () => {
      const answer = await text(
        engine.callTool('everything__trigger-sampling-request', { prompt: 'hi', maxTokens: 10 }),
      );
      return asked.includes('everything') ? answer : 'the host was not asked';
    },
    contains('sampled for everything'),
  );
  await checks.expect(
    'the server asks for roots',
    'the demo directory',
    () => text(engine.callTool('everything__get-roots-list', {})),
    contains('demo'),
  );
  await checks.expect(
    'a tool that fails is a result',
    'isError',
    async () =>
      (await engine.callTool('files__read_text_file', { path: '/etc/hostname' }))['isError'] === true
        ? 'isError'
        : 'no error',
    is('isError'),
  );
  await checks.expect(
    'a file is written',
    'Successfully wrote',
    () => text(engine.callTool('files__write_file', { path: file, content: 'written by a troupe' })),
    contains('Successfully wrote'),
  );
  await checks.expect(
    'and read again',
    'written by a troupe',
    () => text(engine.callTool('files__read_text_file', { path: file })),
    contains('written by a troupe'),
  );
  await checks.expect(
    'a thought',
    'thought 1',
    () =>
      text(
        engine.callTool('thinking__sequentialthinking', {
          thought: 'one',
          thoughtNumber: 1,
          totalThoughts: 1,
          nextThoughtNeeded: false,
        }),
      ),
    contains('thoughtNumber'),
  );
  await checks.expect(
    'something to remember',
    'troupe',
    () =>
      text(
        engine.callTool('memory__create_entities', {
          entities: [{ name: 'troupe', entityType: 'engine', observations: ['runs many servers as one'] }],
        }),
      ),
    contains('troupe'),
  );
  await checks.expect(
    'a resource by its template',
    'Curiosity',
    async () => {
      const read = await engine.readResource('db://planets/visit');
      return String(((read['contents'] as Json[])[0] as Json)['text']);
    },
    contains('Curiosity'),
  );
  await checks.expect(
    'a prompt',
    'Mars',
    async () => JSON.stringify((await engine.getPrompt('planets__describe', { planet: 'Mars' }))['messages']),
    contains('3389.5'),
  );
  await checks.expect(
    'completion of an argument',
    'Mars, Mercury',
    async () => {
      const { values } = (
        await engine.complete(
          { type: 'ref/prompt', name: 'planets__describe' },
          { name: 'planet', value: 'M' },
        )
      )['completion'] as { values: string[] };
      return values.join(', ');
    },
    is('Mars, Mercury'),
  );
  await checks.expect(
    'a batch: one outcome each, in the order asked',
    'ok, ok, not_found',
    async () => {
      const outcomes = await engine.batch([
        { method: 'tools/call', params: { name: 'everything__echo', arguments: { message: 'one' } } },
        { method: 'resources/read', params: { uri: 'db://planets/planet' } },
        { method: 'tools/call', params: { name: 'nobody__has-this' } },
      ]);
      return outcomes.map((outcome) => (outcome.ok ? 'ok' : outcome.error.code)).join(', ');
    },
    is('ok, ok, not_found'),
  );
  await checks.expect(
    'one question to every server, a row from each',
    'a row from each',
    async () => {
      const rows = await lastValueFrom(engine.fanOut({ method: 'tools/list' }).pipe(toArray()));
      return rows
        .filter((row) => row.ok)
        .map((row) => row.server)
        .join(', ');
    },
    (servers) => servers.split(', ').length === Object.keys(demo.servers).length,
  );
  await checks.expect(
    'a watched resource that changes',
    'an update',
    async () => {
      const uri = 'demo://resource/dynamic/text/1';
      let updates = 0;
      const subscription = await engine.subscribeResource(uri, () => (updates += 1), {
        servers: ['everything'],
      });
      await engine.callTool('everything__toggle-subscriber-updates', {});
      const came = await eventually(() => updates > 0, 8_000);
      await engine.callTool('everything__toggle-subscriber-updates', {});
      await subscription.close();
      return came ? 'an update' : 'none';
    },
    is('an update'),
  );
}

async function killAndRecover(engine: Engine): Promise<void> {
  const view = engine.connection('memory');
  const pid = view.process?.pid;
  if (pid === undefined || view.state !== 'Connected') {
    await checks.expect(
      'memory can be killed',
      'a running process',
      () => view.state,
      () => false,
    );
    return;
  }
  const killed = performance.now();
  process.kill(pid, 'SIGKILL');
  await checks.expect(
    'the loss is noticed',
    'Error',
    async () =>
      (await eventually(() => view.state !== 'Connected', 2_000)) ? 'not Connected any more' : view.state,
    contains('not Connected'),
  );
  await checks.expect(
    'a call meanwhile waits and is answered',
    'troupe',
    () => text(engine.callTool('memory__read_graph', {})),
    contains('runs many servers as one'),
  );
  await checks.expect(
    'the server is back',
    'another process',
    () =>
      view.process?.pid === pid
        ? 'the same process'
        : `another process after ${Math.round(performance.now() - killed)} ms`,
    contains('another process'),
  );
  await checks.expect(
    'only memory was restarted',
    'memory',
    () =>
      engine.fleet.connections
        .filter((c) => c.restarts > 0)
        .map((c) => c.id)
        .join(', '),
    is('memory'),
  );
}

/** Twelve callers ask a server of three processes; one process is killed in the middle of its work. */
async function loseReplica(engine: Engine): Promise<void> {
  const shares = new Map<unknown, number>();
  const errors: string[] = [];
  let answered = 0;
  let victim: { id: string; pid: number; inFlight: number } | undefined;
  const caller = async (first: number): Promise<void> => {
    for (let n = first; n < first + 20; n++) {
      try {
        const { structuredContent } = await engine.callTool('factors__factor', { n });
        const { pid } = structuredContent as { pid: number };
        shares.set(pid, (shares.get(pid) ?? 0) + 1);
      } catch (error) {
        errors.push(error instanceof Error ? error.message : String(error));
      }
      answered += 1;
      if (answered !== 60) continue;
      const replicas = engine.fleet.connections.filter((c) => c.server === 'factors');
      const { id, pid, inFlight } = replicas.reduce((a, b) => (b.inFlight > a.inFlight ? b : a));
      if (pid === undefined) continue;
      victim = { id, pid, inFlight };
      process.kill(pid, 'SIGKILL');
    }
  };
  await Promise.all(Array.from({ length: 12 }, (_, i) => caller(1_000_000 + 1_000 * i)));
  await checks.expect(
    'a replica is killed at work',
    'calls in flight',
    () => (victim === undefined ? 'none was killed' : `${victim.id} with ${victim.inFlight} calls in flight`),
    (said) => /with [1-9]/.test(said),
  );
  await checks.expect(
    'no call fails',
    '240 answers',
    () => (errors.length === 0 ? `${answered} answers` : `${errors.length} failed: ${errors[0]}`),
    is('240 answers'),
  );
  await checks.expect(
    'replicas share the load',
    'at least 3 processes',
    () => [...shares.values()].sort((a, b) => b - a).join(' + '),
    () => shares.size >= 3,
  );
  await checks.expect(
    'the lost replica is back',
    'Connected in another process',
    async () => {
      if (victim === undefined) return 'none was lost';
      const view = engine.connection(victim.id);
      const back = await eventually(
        () => view.state === 'Connected' && view.process?.pid !== victim?.pid,
        10_000,
      );
      return back ? 'Connected in another process' : view.state;
    },
    is('Connected in another process'),
  );
}

async function text(result: Promise<Json>): Promise<string> {
  const { content, isError } = (await result) as { content: Array<{ text?: string }>; isError?: boolean };
  const joined = content.map((block) => block.text ?? '').join(' ');
  return isError === true ? `isError: ${joined}` : joined;
}

function is(expected: string): (value: string) => boolean {
  return (value) => value === expected;
}

function contains(part: string): (value: string) => boolean {
  return (value) => value.includes(part) && !value.startsWith('isError');
}

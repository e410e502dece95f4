import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { ROOT, run } from './support/programs.ts';
import { codeBlocks } from './support/readme.ts';

jest.setTimeout(180_000);

/**
 * The package as a stranger gets it: packed, unpacked elsewhere, and used with plain Node. Nothing is fetched: its
 * dependencies are those that stand in `node_modules` already.
 */

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly dependencies?: Readonly<Record<string, string>>;
}

let directory: string;
let files: readonly string[];
let manifest: Manifest;

beforeAll(async () => {
  manifest = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as Manifest;
  directory = await mkdtemp(join(tmpdir(), 'mcp-troupe-package-'));
  // Built beside the tree and packed from there, so that nobody who builds at the same time is in the way.
  const source = join(directory, 'source');
  await mkdir(source);
  for (const name of [
    'lib',
    'package.json',
    'tsconfig.json',
    'tsconfig.build.json',
    'README.md',
    'CHANGELOG.md',
    'LICENSE',
    'spec',
  ]) {
    await cp(join(ROOT, name), join(source, name), { recursive: true });
  }
  await symlink(join(ROOT, 'node_modules'), join(source, 'node_modules'));
  const packed = await run('npm', ['pack', '--json', '--pack-destination', directory], {
    cwd: source,
    timeoutMs: 120_000,
  });
  if (packed.code !== 0) throw new Error(`npm pack failed:\n${packed.stdout}\n${packed.stderr}`);
  const said = JSON.parse(packed.stdout.slice(packed.stdout.indexOf('['))) as [
    { filename: string; files: Array<{ path: string }> },
  ];
  files = said[0].files.map(({ path }) => path);
  const modules = join(directory, 'node_modules');
  await mkdir(join(modules, manifest.name), { recursive: true });
  const unpacked = await run('tar', [
    '-xzf',
    join(directory, said[0].filename),
    '--strip-components=1',
    '-C',
    join(modules, manifest.name),
  ]);
  expect(unpacked.code).toBe(0);
  for (const name of await needed()) {
    const target = join(modules, name);
    await mkdir(dirname(target), { recursive: true });
    await symlink(join(ROOT, 'node_modules', name), target);
  }
});

afterAll(() => rm(directory, { recursive: true, force: true }));

/** Dependencies, and what the consumers below use themselves. */
async function needed(): Promise<readonly string[]> {
  return [...Object.keys(manifest.dependencies ?? {}), 'zod', '@types/node'].filter(
    (name) => !name.startsWith('.'),
  );
}

/** A program that is given the package's exports as `troupe`, in either module system. */
const PROGRAM = `
  const { McpServer } = sdk;
  const build = () => {
    const server = new McpServer({ name: 'greeter', version: '1.0.0' });
    server.registerTool('greet', { inputSchema: z.object({ name: z.string() }) }, ({ name }) => ({ content: [{ type: 'text', text: 'hello ' + name }] }));
    return server;
  };
  (async () => {
    const engine = troupe.createEngine({ servers: { greeter: { server: build } } });
    try {
      await engine.start();
      const { content } = await engine.callTool('greeter__greet', { name: 'you' });
      const failure = await engine.callTool('nobody__nothing').catch((error) => error);
      console.log(JSON.stringify({
        text: content[0].text,
        code: failure.code,
        ours: troupe.isTroupeError(failure),
        strategies: troupe.STRATEGY_NAMES.length > 10,
      }));
    } finally {
      await engine.stop();
    }
  })();
`;

const HEARD = `{"text":"hello you","code":"not_found","ours":true,"strategies":true}\n`;

async function consumer(name: string, text: string): Promise<string> {
  const file = join(directory, name);
  await writeFile(file, text);
  return file;
}

describe('the package', () => {
  it('contains what is used and nothing else', () => {
    expect(new Set(files.map((file) => file.split('/')[0]))).toEqual(
      new Set(['CHANGELOG.md', 'LICENSE', 'README.md', 'dist', 'lib', 'package.json']),
    );
    expect(files).toEqual(
      expect.arrayContaining(['dist/index.js', 'dist/index.d.ts', 'dist/index.js.map', 'lib/index.ts']),
    );
    expect(files.filter((file) => /\.spec\.|(^|\/)spec\//.test(file))).toEqual([]);
  });

  it('runs as an ECMAScript module', async () => {
    const file = await consumer(
      'consumer.mjs',
      `import * as troupe from 'mcp-troupe';\nimport * as sdk from '@modelcontextprotocol/server';\nimport { z } from 'zod';\n${PROGRAM}`,
    );
    expect(await run(process.execPath, [file], { cwd: directory })).toEqual({
      code: 0,
      stdout: HEARD,
      stderr: '',
    });
  });

  it('runs in a CommonJS program, by require', async () => {
    const file = await consumer(
      'consumer.cjs',
      `const troupe = require('mcp-troupe');\nconst sdk = require('@modelcontextprotocol/server');\nconst { z } = require('zod');\n${PROGRAM}`,
    );
    // Some releases of Node say that this is new to them; that is their word, not ours.
    expect(
      await run(process.execPath, ['--disable-warning=ExperimentalWarning', file], { cwd: directory }),
    ).toEqual({
      code: 0,
      stdout: HEARD,
      stderr: '',
    });
  });

  it('runs the first program of the README with plain Node, as it stands there', async () => {
    const [first] = codeBlocks(await readFile(join(ROOT, 'README.md'), 'utf8'));
    const file = await consumer('readme.mjs', first?.code ?? '');
    // In the repository, so that npx finds the server that is installed and fetches nothing.
    const ran = await run(process.execPath, [file], { env: { npm_config_offline: 'true' } });
    expect(ran).toEqual({ code: 0, stdout: first?.output, stderr: '' });
  });

  it('says its version to servers', async () => {
    const file = await consumer(
      'version.mjs',
      `import { McpServer } from '@modelcontextprotocol/server';
       import { createEngine } from 'mcp-troupe';
       const build = () => {
         const server = new McpServer({ name: 'asks', version: '1.0.0' });
         server.registerTool('client', {}, () => ({ content: [{ type: 'text', text: JSON.stringify(server.server.getClientVersion()) }] }));
         return server;
       };
       const engine = createEngine({ servers: { asks: { server: build, era: 'legacy' } } });
       try {
         console.log((await engine.callTool('asks__client')).content[0].text);
       } finally {
         await engine.stop();
       }`,
    );
    const { stdout, stderr } = await run(process.execPath, [file], { cwd: directory });
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual({ name: manifest.name, version: manifest.version });
  });

  it('has types that a strict consumer compiles, declarations of ours included', async () => {
    await consumer(
      'consumer.ts',
      `import { createEngine, isTroupeError, loadConfig, type ConnectionState, type Engine, type EngineConfig, type Interceptor } from 'mcp-troupe';
       const log: Interceptor = (next) => (request) => next(request);
       const config: EngineConfig = { servers: { a: { command: 'a' }, b: { url: 'https://b.example/mcp', replicas: 2 } }, interceptors: [log] };
       export const engine: Engine = createEngine(config);
       export async function use(): Promise<ConnectionState> {
         const other = createEngine(await loadConfig('mcp.json'));
         await other.stop();
         const { items, failures } = await engine.listTools({ timeoutMs: 1_000 });
         const name: string | undefined = items[0]?.name ?? failures[0]?.server;
         const stop: () => void = engine.on('connection.changed', ({ from, to, connection }) => void [from, to, connection]);
         engine.fanOut({ method: 'tools/list' }).subscribe((row) => void (row.ok ? row.result : row.error.code));
         stop();
         try {
           await engine.callTool(name ?? 'x', { y: 1 }, { onProgress: ({ progress }) => void progress.toFixed() });
         } catch (error) {
           if (isTroupeError(error) && error.code === 'deadline_exceeded') return 'Error';
         }
         // @ts-expect-error -- there is no such event
         engine.on('nothing.happened', () => {});
         return engine.connection('a').state;
       }`,
    );
    const options = {
      module: 'nodenext',
      target: 'es2023',
      lib: ['es2023'],
      types: ['node'],
      strict: true,
      exactOptionalPropertyTypes: true,
      noEmit: true,
      skipLibCheck: false,
    };
    await writeFile(
      join(directory, 'tsconfig.json'),
      JSON.stringify({ compilerOptions: options, files: ['consumer.ts'] }),
    );
    await writeFile(join(directory, 'package.json'), JSON.stringify({ type: 'module' }));
    const compiled = await run(
      process.execPath,
      [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', directory],
      { cwd: directory },
    );
    expect(compiled).toEqual({ code: 0, stdout: '', stderr: '' });
  });
});

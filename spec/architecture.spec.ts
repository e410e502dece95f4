import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';

/**
 * The rules of the house: which room may know which, which library has which door, and that nothing goes round in
 * circles. `lib/README.md` tells them to people; a wall that moves is moved in both.
 */
const LIB = fileURLToPath(new URL('../lib', import.meta.url));

/** Rooms that a room may import from, beside itself. */
const MAY_KNOW: Readonly<Record<string, readonly string[]>> = {
  core: [],
  catalog: ['core'],
  config: ['core'],
  telemetry: ['core'],
  resilience: ['core'],
  security: ['core'],
  mcp: ['core'],
  routing: ['core', 'catalog'],
  connection: ['core', 'mcp'],
  supervision: ['core', 'connection'],
  engine: [
    'core',
    'catalog',
    'config',
    'connection',
    'mcp',
    'resilience',
    'routing',
    'security',
    'supervision',
    'telemetry',
  ],
  gateway: ['engine', 'core'],
  cli: ['engine', 'gateway', 'config', 'core'],
  adapters: ['index'],
};

/** One library, one door: files (or folders, with a slash at the end) that may import it. */
const DOORS: Readonly<Record<string, readonly string[]>> = {
  '@modelcontextprotocol/client': ['mcp/'],
  '@modelcontextprotocol/server': ['gateway/', 'mcp/transports/in-memory.ts'],
  xstate: ['connection/', 'supervision/'],
  rxjs: ['supervision/fleet.ts', 'engine/', 'resilience/batch.ts'],
  'p-retry': ['resilience/retry.ts'],
  opossum: ['resilience/circuit-breaker.ts'],
  'lru-cache': ['resilience/cache.ts', 'supervision/pool.ts', 'mcp/wire/'],
  eventemitter3: ['telemetry/event-bus.ts'],
  undici: ['mcp/transports/'],
  ws: ['mcp/transports/websocket.ts'],
  ajv: ['mcp/wire/'],
  re2js: ['mcp/wire/', 'security/cel.ts'],
  '@marcbachmann/cel-js': ['security/cel.ts'],
  'jsonc-parser': ['config/'],
  'node:child_process': ['mcp/process.ts', 'mcp/spawn-helper.ts'],
};

interface Import {
  readonly from: string;
  readonly to: string;
  readonly typeOnly: boolean;
}

const files = readdirSync(LIB, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => name.split(sep).join('/'));

const imports: readonly Import[] = files.flatMap((file) => {
  const source = readFileSync(join(LIB, file), 'utf8');
  const found = source.matchAll(/^(?:import|export)\s(type\s)?[^;]*?from\s'([^']+)';|^import\s'([^']+)';/gms);
  return [...found].map((match) => ({
    from: file,
    to: match[2] ?? match[3] ?? '',
    typeOnly: match[1] !== undefined,
  }));
});

function room(file: string): string {
  return file.includes('/') ? (file.split('/')[0] ?? '') : file.replace(/\.ts$/, '');
}

function target({ from, to }: Import): string {
  return relative(LIB, join(LIB, dirname(from), to))
    .split(sep)
    .join('/');
}

const inner = imports.filter(({ to }) => to.startsWith('.'));
const outer = imports.filter(({ to }) => !to.startsWith('.'));

describe('the house', () => {
  it('is read at all', () => {
    expect(files.length).toBeGreaterThan(60);
    expect(inner.length).toBeGreaterThan(200);
  });

  it('lets a room know only the rooms below it', () => {
    const broken = inner
      .filter((i) => room(i.from) !== room(target(i)) && room(i.from) !== 'index')
      .filter((i) => MAY_KNOW[room(i.from)]?.includes(room(target(i))) !== true)
      .map((i) => `${i.from} → ${target(i)}`);
    expect(broken).toEqual([]);
  });

  it('gives each library one door', () => {
    const broken = outer
      .filter(({ from, to }) => {
        const name = Object.keys(DOORS).find((library) => to === library || to.startsWith(`${library}/`));
        if (name === undefined) return !to.startsWith('node:');
        return !(DOORS[name] ?? []).some((door) =>
          door.endsWith('/') ? from.startsWith(door) : from === door,
        );
      })
      .map(({ from, to }) => `${from} → ${to}`);
    expect(broken).toEqual([]);
  });

  it('keeps core free of libraries, Node included', () => {
    expect(
      outer.filter(({ from }) => room(from) === 'core').map(({ from, to }) => `${from} → ${to}`),
    ).toEqual([]);
  });

  it('goes round in no circle', () => {
    const graph = new Map<string, string[]>();
    for (const i of inner.filter(({ typeOnly }) => !typeOnly))
      graph.set(i.from, [...(graph.get(i.from) ?? []), target(i)]);
    const done = new Set<string>();
    const circles: string[] = [];
    const visit = (file: string, path: readonly string[]): void => {
      if (path.includes(file)) {
        circles.push([...path.slice(path.indexOf(file)), file].join(' → '));
        return;
      }
      if (done.has(file)) return;
      for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
      done.add(file);
    };
    for (const file of files) visit(file, []);
    expect(circles).toEqual([]);
  });
});

import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { ROOT, run, runTypeScript } from './support/programs.ts';
import { codeBlocks, drawReadme } from './support/readme.ts';

jest.setTimeout(180_000);

const text = readFileSync(join(ROOT, 'README.md'), 'utf8');
const blocks = codeBlocks(text);
const runnable = blocks.filter(({ runs }) => runs);

let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mcp-troupe-readme-'));
  await symlink(join(ROOT, 'node_modules'), join(directory, 'node_modules'));
});

afterAll(() => rm(directory, { recursive: true, force: true }));

it('shows the machines, the options and the error codes as they are (run `npm run readme`)', () => {
  expect(drawReadme(text)).toBe(text);
});

describe('the code of the README', () => {
  it('is there', () => {
    expect(blocks.length).toBeGreaterThan(5);
    expect(runnable.length).toBeGreaterThan(2);
  });

  it.each(runnable)('of line $line does what is printed below it', async ({ line, code, output }) => {
    expect(output).toBeDefined();
    const file = join(directory, `line-${line}.mts`);
    const ours = pathToFileURL(join(ROOT, 'lib/index.ts')).href;
    await writeFile(file, code.replace(`'mcp-troupe'`, `'${ours}'`));
    // In the repository, so that npx finds the servers that are installed and fetches nothing.
    const {
      code: exit,
      stdout,
      stderr,
    } = await runTypeScript(file, [], { env: { npm_config_offline: 'true' } });
    expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
    expect(stdout).toBe(output);
  });

  it('compiles, all of it, under the strictest options', async () => {
    const strict = join(directory, 'strict');
    await mkdir(strict);
    const files = await Promise.all(
      blocks.map(async ({ line, code }) => {
        const name = `line-${line}.mts`;
        await writeFile(join(strict, name), `${code}\nexport {};\n`);
        return name;
      }),
    );
    const compilerOptions = {
      target: 'es2023',
      lib: ['es2023'],
      module: 'nodenext',
      types: ['node'],
      typeRoots: [join(ROOT, 'node_modules/@types')],
      strict: true,
      exactOptionalPropertyTypes: true,
      skipLibCheck: true,
      noEmit: true,
      allowImportingTsExtensions: true,
      paths: { 'mcp-troupe': [join(ROOT, 'lib/index.ts')] },
    };
    await writeFile(join(strict, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }));
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
    expect(await run(process.execPath, [tsc, '-p', strict])).toEqual({ code: 0, stdout: '', stderr: '' });
  });
});

describe('the links', () => {
  it.each(
    ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'lib/README.md', 'SECURITY.md'].filter((name) =>
      existsSync(join(ROOT, name)),
    ),
  )('of %s point at what exists', (name) => {
    const folder = join(ROOT, name, '..');
    const links = [...readFileSync(join(ROOT, name), 'utf8').matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)].map(
      (match) => match[1] ?? '',
    );
    expect(links.filter((link) => !existsSync(join(folder, link)))).toEqual([]);
  });

  it('leads to every example', () => {
    const linked = new Set([...text.matchAll(/\]\(examples\/([^)]+)\)/g)].map((match) => match[1]));
    expect(
      readdirSync(join(ROOT, 'examples')).filter((name) => name.endsWith('.ts') && !linked.has(name)),
    ).toEqual([]);
  });

  it('map of the house: every file it names is there', () => {
    const map = readFileSync(join(ROOT, 'lib/README.md'), 'utf8');
    const named = [...map.matchAll(/`([a-z-]+\/[a-z\d./-]*)`/g)].map((match) => match[1] ?? '');
    expect(named.length).toBeGreaterThan(30);
    expect(
      named.filter((name) => !existsSync(join(ROOT, 'lib', name)) && !existsSync(join(ROOT, name))),
    ).toEqual([]);
  });

  it('names no script that does not exist', () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    for (const name of ['README.md', 'CONTRIBUTING.md']) {
      const said = [...readFileSync(join(ROOT, name), 'utf8').matchAll(/npm run ([\w:-]+)/g)].map(
        (match) => match[1] ?? '',
      );
      expect(said.filter((script) => scripts[script] === undefined)).toEqual([]);
    }
  });
});

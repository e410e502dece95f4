import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../../', import.meta.url));

export interface Packed {
  /** What a user's `import 'mcp-troupe'` resolves to, as a URL. */
  readonly entry: string;
  /** The folder it was installed in, below the system's temporary files; gone after `remove`. */
  readonly folder: string;
  readonly bytes: number;
  /** What the compiler says against it; empty for everything that may be published. */
  readonly typeErrors: readonly string[];
  remove(): void;
}

interface PackageJson {
  readonly name: string;
  readonly files: readonly string[];
  readonly dependencies: Readonly<Record<string, string>>;
}

/**
 * The package as npm would publish it, installed in a folder of its own: built and packed from a copy, so that neither
 * the `dist` of the checkout is touched nor an old one measured. No network: its dependencies are those of the checkout.
 */
export async function packAndInstall(): Promise<Packed> {
  const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as PackageJson;
  const folder = mkdtempSync(join(tmpdir(), 'troupe-bench-'));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  try {
    const staging = join(folder, 'staging');
    const installed = join(folder, 'node_modules', manifest.name);
    mkdirSync(staging);
    mkdirSync(installed, { recursive: true });
    for (const file of [...manifest.files, 'package.json', 'README.md', 'LICENSE'])
      if (file !== 'dist' && existsSync(join(ROOT, file)))
        cpSync(join(ROOT, file), join(staging, file), { recursive: true });
    const typeErrors = await build(join(staging, 'dist'));
    const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--json', '--silent'], { cwd: staging });
    const [{ filename, size }] = JSON.parse(stdout) as [{ filename: string; size: number }];
    await run('tar', ['-xzf', join(staging, filename), '-C', installed, '--strip-components=1']);
    for (const name of Object.keys(manifest.dependencies)) linkDependency(name, folder);
    rmSync(staging, { recursive: true });
    return {
      entry: pathToFileURL(join(installed, 'dist', 'index.js')).href,
      folder,
      bytes: size,
      typeErrors,
      remove,
    };
  } catch (error) {
    remove();
    throw error;
  }
}

/** Compiles; what does not type-check is compiled all the same, so that work in progress can be measured. */
async function build(outDir: string): Promise<readonly string[]> {
  const compiler = join(ROOT, 'node_modules', '.bin', 'tsc');
  try {
    await run(compiler, ['-p', 'tsconfig.build.json', '--outDir', outDir], { cwd: ROOT });
    return [];
  } catch (error) {
    const { stdout = '' } = error as { readonly stdout?: string };
    if (existsSync(join(outDir, 'index.js'))) return stdout.trim().split('\n');
    throw new Error(`the package cannot be built, so there is nothing to measure:\n${stdout}`, {
      cause: error,
    });
  }
}

function linkDependency(name: string, folder: string): void {
  const link = join(folder, 'node_modules', name);
  mkdirSync(dirname(link), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules', name), link, 'dir');
}

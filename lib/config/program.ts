import type { InheritEnv, StdioPlace } from './config.ts';
import { parseDotenv } from './dotenv.ts';
import { below, fieldName, invalid, kindOf, scalarText, withoutNul, type Fields } from './fields.ts';
import { absolute, checkDirectory, expanded, fileText, type Reading } from './reading.ts';

export function readProgram(fields: Fields, reading: Reading): StdioPlace {
  const [command, first] = readCommand(fields, reading);
  const args = [...first, ...readArgs(fields, reading)];
  if (args.length === 0 && /\s/.test(command) && !/[\\/]/.test(command)) {
    const at = fields.place('command');
    reading.warnings.push(
      `${at.server ?? ''}: ${fieldName(at.path)} contains spaces and no args are given; a program is named there, its arguments belong into args`,
    );
  }
  const loose = unpinned(command, args);
  if (loose !== undefined) {
    const at = fields.place('args');
    reading.warnings.push(
      `${at.server ?? ''}: "${loose}" has no version: whatever is published under that name next is run; write ${loose}@1.2.3`,
    );
  }
  const cwd = fields.text('cwd');
  let directory = reading.cwd;
  if (cwd !== undefined) {
    directory = absolute(expanded(cwd, fields.place('cwd'), reading), reading);
    checkDirectory(directory, fields.place('cwd'));
  }
  return Object.freeze({
    kind: 'stdio',
    command,
    args: Object.freeze(args),
    env: readEnv(fields, reading),
    cwd: directory,
    inheritEnv: readInherit(fields),
  });
}

/** Runners that fetch a package when it is named, and do so without asking. */
const RUNNERS: ReadonlyMap<string, readonly string[]> = new Map([
  ['npx', []],
  ['bunx', []],
  ['uvx', []],
  ['pnpx', []],
  ['pnpm', ['dlx']],
  ['yarn', ['dlx']],
  ['bun', ['x']],
]);

/** The package that a runner would fetch in its newest version, where that is what the command says. */
function unpinned(command: string, args: readonly string[]): string | undefined {
  const name = /([^\\/]+?)(?:\.cmd|\.exe)?$/i.exec(command)?.[1]?.toLowerCase() ?? '';
  const verbs = RUNNERS.get(name);
  if (verbs === undefined || !verbs.every((verb, i) => args[i] === verb)) return undefined;
  const named = args.slice(verbs.length).find((arg) => !arg.startsWith('-'));
  // A path, an address or something that a shell would expand is no name of a package.
  if (named === undefined || !/^(?:@[\w.-]+\/)?[\w.-]+(?:@[^@]+|==.+)?$/.test(named)) return undefined;
  const version = /^(?:@[^@/]+\/)?[^@=]+(?:@|==)(.+)$/.exec(named)?.[1];
  return version === undefined || version === 'latest' ? named.replace(/@latest$/, '') : undefined;
}

function readCommand(fields: Fields, reading: Reading): [string, string[]] {
  const value = fields.get('command');
  const parts = Array.isArray(value) ? (value as unknown[]) : [value];
  const read = parts.map((part, i) => {
    const at = Array.isArray(value) ? below(fields.place('command'), i) : fields.place('command');
    if (typeof part !== 'string') throw invalid(at, `is ${kindOf(part)}`, 'give a text');
    return withoutNul(expanded(part, at, reading), at);
  });
  const [command, ...args] = read;
  if (command === undefined || command.trim() === '') {
    throw invalid(fields.place('command'), 'is empty', 'name the program to run');
  }
  return [command, args];
}

function readArgs(fields: Fields, reading: Reading): string[] {
  const value = fields.get('args');
  if (value === undefined) return [];
  const at = fields.place('args');
  if (!Array.isArray(value))
    throw invalid(at, `is ${kindOf(value)}`, 'give a list of texts, one argument each');
  return value.map((item: unknown, i) => {
    const place = below(at, i);
    return withoutNul(expanded(scalarText(item, place), place, reading), place);
  });
}

function readEnv(fields: Fields, reading: Reading): Readonly<Record<string, string | null>> {
  const env = Object.create(null) as Record<string, string | null>;
  const envFile = fields.text('envFile');
  if (envFile !== undefined) {
    const at = fields.place('envFile');
    const path = absolute(expanded(envFile, at, reading), reading);
    const { values, badLines } = parseDotenv(fileText(path, at));
    if (badLines[0] !== undefined) {
      throw invalid(
        at,
        `names ${path}, whose line ${badLines[0]} is no assignment`,
        'write KEY=value, or # before a comment',
      );
    }
    for (const [key, value] of values) env[key] = value;
  }
  for (const key of ['environment', 'env']) {
    const written = fields.object(key);
    if (written === undefined) continue;
    for (const name of Object.keys(written)) {
      const at = below(fields.place(key), name);
      if (name === '' || /[=\0]/.test(name))
        throw invalid(at, 'is no name of a variable', 'remove "=" and NUL from it');
      const value = written[name];
      if (value === undefined) continue;
      env[name] = value === null ? null : withoutNul(expanded(scalarText(value, at), at, reading), at);
    }
  }
  return Object.freeze(env);
}

function readInherit(fields: Fields): InheritEnv {
  const value = fields.get('inheritEnv');
  if (value === undefined || value === false || value === 'safe') return 'safe';
  if (value === true || value === 'all') return 'all';
  if (typeof value === 'string') {
    throw invalid(
      fields.place('inheritEnv'),
      'is an unknown word',
      'give true, false, "safe", "all" or a list of names',
    );
  }
  return fields.texts('inheritEnv') ?? 'safe';
}

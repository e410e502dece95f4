import { TroupeError } from '../core/errors.ts';

export interface WindowsCommand {
  readonly command: string;
  readonly args: readonly string[];
  /** The arguments are quoted already and must reach the program as they are. */
  readonly verbatim: boolean;
}

export interface WindowsSearch {
  /** Environment the program is started with: `PATH`, `PATHEXT` and `COMSPEC` are read from it, in any case. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly isFile: (path: string) => boolean;
  readonly server?: string | undefined;
}

const BATCH = /\.(?:cmd|bat)$/i;
const DEFAULT_EXTENSIONS = '.COM;.EXE;.BAT;.CMD';

/**
 * How to start a command on Windows without a shell. `npx` and its like are batch files there, which only `cmd.exe`
 * can run, and its quoting has no way to write every text safely (CVE-2024-27980): arguments in double quotes are
 * taken literally unless they hold `"`, `%` or a line break, so an argument with one of these is refused.
 */
export function windowsCommand(
  command: string,
  args: readonly string[],
  search: WindowsSearch,
): WindowsCommand {
  const found = find(command, search);
  if (found === undefined || !BATCH.test(found)) return { command: found ?? command, args, verbatim: false };
  for (const arg of [found, ...args]) {
    if (!/["%\r\n\0]/.test(arg)) continue;
    throw new TroupeError(
      'config_invalid',
      `"${command}" is a batch file, to which the argument ${JSON.stringify(arg)} cannot be passed safely (it holds a quote, a percent sign or a line break); start the program behind it directly, for example with "node"`,
      { server: search.server },
    );
  }
  const line = [found, ...args].map(quoted).join(' ');
  return {
    command: variable(search.env, 'COMSPEC') ?? 'cmd.exe',
    args: ['/d', '/s', '/v:off', '/c', `"${line}"`],
    verbatim: true,
  };
}

/** A backslash before the closing quote would quote the quote for the program behind the batch file. */
function quoted(arg: string): string {
  return `"${arg.replace(/\\+$/, '$&$&')}"`;
}

function find(command: string, { env, cwd, isFile }: WindowsSearch): string | undefined {
  const extensions = [
    '',
    ...(variable(env, 'PATHEXT') ?? DEFAULT_EXTENSIONS).split(';').filter((ext) => ext !== ''),
  ];
  // A name without an extension is no program on Windows: `npx` beside `npx.cmd` is a script for other systems.
  const tried = /\.[^\\/.]+$/.test(command) ? extensions : extensions.slice(1);
  const isPath = /[\\/:]/.test(command);
  const folders = isPath ? [cwd] : (variable(env, 'PATH') ?? '').split(';').filter((folder) => folder !== '');
  for (const folder of folders) {
    const base =
      isPath && /^(?:[a-z]:|[\\/])/i.test(command) ? command : `${folder.replace(/[\\/]+$/, '')}\\${command}`;
    for (const ext of tried) {
      if (isFile(base + ext)) return base + ext;
    }
  }
  return undefined;
}

function variable(env: WindowsSearch['env'], name: string): string | undefined {
  const key = Object.keys(env).find((key) => key.toUpperCase() === name);
  return key === undefined ? undefined : env[key];
}

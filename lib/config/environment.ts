import type { StdioPlace } from './config.ts';

/** What a program needs to run at all; nothing that may carry a secret. The lists of the MCP SDK (after sudo's). */
const SAFE_POSIX: readonly string[] = ['HOME', 'LOGNAME', 'PATH', 'SHELL', 'TERM', 'USER'];
const SAFE_WINDOWS: readonly string[] = [
  'APPDATA',
  'COMSPEC',
  'HOMEDRIVE',
  'HOMEPATH',
  'LOCALAPPDATA',
  'PATH',
  'PATHEXT',
  'PROCESSOR_ARCHITECTURE',
  'PROGRAMDATA',
  'PROGRAMFILES',
  'PROGRAMFILES(X86)',
  'PROGRAMW6432',
  'SYSTEMDRIVE',
  'SYSTEMROOT',
  'TEMP',
  'USERNAME',
  'USERPROFILE',
  'WINDIR',
];

/** The whole environment of a server process: inherited, then configured; `null` takes one away. */
export function childEnvironment(
  { env, inheritEnv }: Pick<StdioPlace, 'env' | 'inheritEnv'>,
  host: Readonly<Record<string, string | undefined>> = process.env,
  platform: NodeJS.Platform = process.platform,
): Record<string, string> {
  const windows = platform === 'win32';
  const safe = windows ? SAFE_WINDOWS : SAFE_POSIX;
  const names =
    inheritEnv === 'all' ? Object.keys(host) : inheritEnv === 'safe' ? safe : [...safe, ...inheritEnv];
  const child = new Map<string, readonly [string, string]>();
  // Names of variables are equal whatever their case on Windows only.
  const slot = (name: string): string => (windows ? name.toUpperCase() : name);
  for (const name of names) {
    const value = host[name];
    // A value that begins so is a function exported by an old shell.
    if (value !== undefined && !value.startsWith('()')) child.set(slot(name), [name, value]);
  }
  for (const name of Object.keys(env)) {
    const value = env[name];
    if (value === null || value === undefined) child.delete(slot(name));
    else child.set(slot(name), [name, value]);
  }
  return Object.assign(Object.create(null) as Record<string, string>, Object.fromEntries(child.values()));
}

import { expect } from '@jest/globals';
import type { Config, EngineConfig, ResolvedServer, ServerConfig } from '../../lib/config/config.ts';
import { normalise } from '../../lib/config/normalise.ts';
import { isTroupeError, type TroupeError } from '../../lib/core/errors.ts';

/** The one server of a configuration that holds nothing else. */
export function resolved(server: unknown, settings: EngineConfig = {}): ResolvedServer {
  const config = normalise({ ...settings, servers: { s: server as ServerConfig } });
  const [only] = config.servers;
  if (only === undefined) throw new Error('the server was dropped');
  return only;
}

export function withWarnings(server: unknown): readonly string[] {
  return normalise({ servers: { s: server as ServerConfig } }).warnings;
}

/** The error that `run` throws. */
export function refusal(run: () => unknown): TroupeError {
  try {
    run();
  } catch (error) {
    if (isTroupeError(error)) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

export function configRefusal(config: unknown): TroupeError {
  return refusal(() => normalise(config as EngineConfig));
}

/** The error about a server `s`, which names it. */
export function serverRefusal(server: unknown): TroupeError {
  const error = configRefusal({ servers: { s: server } });
  if (error.server !== 's') throw new Error(`the server is not named: ${error.message}`);
  return error;
}

/** Matches `config_invalid` about a field, with all of these in its message, and with problem and remedy. */
export function invalidAt(field: string, ...says: RegExp[]): unknown {
  const all = says.map(({ source }) => `(?=[^]*(?:${source}))`).join('');
  return expect.objectContaining({
    code: 'config_invalid',
    data: expect.objectContaining({ field }),
    message: expect.stringMatching(new RegExp(`^${all}[^]*; `)),
  });
}

export function expectDeepFrozen(value: Config | ResolvedServer): void {
  const open: string[] = [];
  const visit = (item: unknown, path: string): void => {
    if (typeof item !== 'object' || item === null || item instanceof URL) return;
    if (!Object.isFrozen(item)) open.push(path);
    for (const [key, child] of Object.entries(item)) visit(child, `${path}.${key}`);
  };
  visit(value, 'config');
  expect(open).toEqual([]);
}

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

function refusal(run: () => unknown): TroupeError {
  try {
    run();
  } catch (error) {
    if (isTroupeError(error)) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** `run` throws `config_invalid` and names the field; texts in `says` stand in the message. */
export function expectInvalid(run: () => unknown, field: string, ...says: (string | RegExp)[]): TroupeError {
  const error = refusal(run);
  expect(error.code).toBe('config_invalid');
  expect((error.data as { field?: string } | undefined)?.field).toBe(field);
  for (const text of says) expect(error.message).toMatch(text);
  // Problem; remedy.
  expect(error.detail).toContain('; ');
  return error;
}

export function expectServerInvalid(
  server: unknown,
  field: string,
  ...says: (string | RegExp)[]
): TroupeError {
  const error = expectInvalid(() => normalise({ servers: { s: server as ServerConfig } }), field, ...says);
  expect(error.server).toBe('s');
  return error;
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

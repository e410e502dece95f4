import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Engine } from '../../lib/engine/contract.ts';
import { createAuthorizationWorld, type AuthorizationWorld } from '../support/authorization-world.ts';
import { engines } from '../support/engines.ts';
import { temporaryDirectories } from '../support/temp-dir.ts';

const KEY = Buffer.alloc(32, 7).toString('base64');
const make = engines();
const dir = temporaryDirectories();
let world: AuthorizationWorld;
beforeEach(async () => {
  world = await createAuthorizationWorld();
});
afterEach(() => world.close());

function engineIn(stateDir: string, key: string | undefined): Engine {
  return make({
    stateDir,
    ...(key === undefined ? {} : { vault: { key } }),
    servers: {
      guarded: {
        url: world.url,
        type: 'http',
        era: 'legacy',
        auth: { oauth: {} },
        restart: { baseMs: 60_000 },
      },
    },
  });
}

async function authorizedOnce(stateDir: string, key: string | undefined): Promise<void> {
  const engine = engineIn(stateDir, key);
  let url = '';
  engine.on('auth.required', ({ challenge }) => {
    url = String(challenge?.['authorizationUrl']);
  });
  await engine.start();
  await engine.authorize('guarded', { url: await world.agree(url) });
  expect(engine.connection('guarded').state).toBe('Connected');
  await engine.stop();
}

describe('tokens of a server', () => {
  it('outlive the engine, encrypted, where there is a key', async () => {
    const stateDir = dir();
    await authorizedOnce(stateDir, KEY);
    expect(readFileSync(join(stateDir, 'tokens.vault'), 'utf8')).not.toMatch(/access-|refresh-|client-/);
    const later = engineIn(stateDir, KEY);
    await later.start();
    expect(later.connection('guarded').state).toBe('Connected');
    expect([world.asked('/register').length, world.grants()]).toEqual([1, ['authorization_code']]);
    world.expire();
    await later.listTools({ cache: 'refresh' });
    const fresh = engineIn(stateDir, KEY);
    await fresh.start();
    expect(fresh.connection('guarded').state).toBe('Connected');
    expect(world.grants().filter((grant) => grant === 'authorization_code')).toHaveLength(1);
  });

  it('live in memory without one', async () => {
    const stateDir = dir();
    await authorizedOnce(stateDir, undefined);
    const later = engineIn(stateDir, undefined);
    await later.start();
    expect(later.connection('guarded').state).toBe('AuthRequired');
  });

  it('are an error with another key, and nothing is sent', async () => {
    const stateDir = dir();
    await authorizedOnce(stateDir, KEY);
    const before = world.visits.length;
    const later = engineIn(stateDir, Buffer.alloc(32, 8).toString('base64'));
    await later.start();
    expect(later.fleet.connections[0]).toMatchObject({
      state: 'Error',
      error: { code: 'config_invalid', server: 'guarded' },
    });
    expect(world.visits).toHaveLength(before);
  });
});

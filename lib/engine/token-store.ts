import { join } from 'node:path';
import type { Clock } from '../core/clock.ts';
import type { TokenStore } from '../mcp/authorization/token-store.ts';
import { createVault } from '../security/vault.ts';
import type { VaultKeySource } from '../security/vault-key.ts';

/** Tokens of each server below `stateDir`, encrypted with the key of the host. */
export function createTokenStores(
  stateDir: string,
  key: VaultKeySource,
  clock: Clock,
): (server: string) => TokenStore {
  const vault = createVault({ path: join(stateDir, 'tokens.vault'), key, clock });
  return (server) => ({
    load: (field) => vault.get(server, field),
    save: (field, value) =>
      value === undefined ? vault.delete(server, field) : vault.set(server, field, value),
  });
}

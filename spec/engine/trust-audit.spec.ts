import { readFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { createEngine } from '../../lib/engine/engine.ts';
import { startMiniHttp } from '../support/mini-http.mjs';
import { engines, failureOf } from '../support/engines.ts';

describe('the audit trail of an engine', () => {
  const make = engines();

  it('has two records per operation, refusals included, is whole, and belongs to one engine', async () => {
    const server = await startMiniHttp({ revision: '2025-11-25' });
    try {
      const audit = join(await mkdtemp(join(tmpdir(), 'troupe-')), 'audit.jsonl');
      const engine = make({
        servers: { mini: { url: server.url } },
        audit,
        policy: [{ effect: 'deny', tools: ['fail'] }],
      });
      await engine.start();
      await engine.callTool('mini__echo', { message: 'x' });
      await failureOf(engine.callTool('mini__fail', {}));
      const kinds = readFileSync(audit, 'utf8')
        .split('\n')
        .filter(Boolean)
        .map((line) => (JSON.parse(line) as { kind: string }).kind);
      expect(kinds.filter((kind) => kind === 'intent')).toHaveLength(2);
      expect(kinds.filter((kind) => kind === 'outcome')).toHaveLength(2);
      expect(await engine.verifyAudit()).toMatchObject({ ok: true });
      expect(() => createEngine({ servers: {}, audit })).toThrow(/config_invalid/);
    } finally {
      await server.close();
    }
  });
});

import { createHash } from 'node:crypto';
import type { ResolvedReplica, ResolvedServer } from '../config/config.ts';
import type { Json } from '../core/json-rpc.ts';
import type { Verdict } from '../mcp/session/verdicts.ts';

/** A verdict as the host writes it: the SDK's `prior`, or the discovery result alone. */
export function priorOf(prior: Json | undefined): Verdict | undefined {
  if (prior === undefined) return undefined;
  if (prior['kind'] === 'legacy') return { kind: 'legacy' };
  const discover = prior['kind'] === 'modern' ? prior['discover'] : prior;
  return { kind: 'modern', discover: discover as Json };
}

/** Server, place and credential: a verdict holds for exactly these. Hashed, since arguments may hold a secret. */
export function verdictKey(server: ResolvedServer, replica: ResolvedReplica): string {
  const { where } = replica;
  const parts: unknown[] = [server.name, where.kind];
  if (where.kind === 'stdio') parts.push(where.command, where.args);
  if (where.kind === 'http' || where.kind === 'websocket') parts.push(where.url.href, where.headers);
  return `${server.name}:${createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32)}`;
}

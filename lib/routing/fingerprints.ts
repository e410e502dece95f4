import { isJson } from '../core/json-rpc.ts';
import { hash64 } from './hash.ts';

/** What of a tool makes it the same tool on every replica. Descriptions may differ by wording only. */
export interface FingerprintedTool {
  readonly name: string;
  readonly inputSchema?: unknown;
  readonly outputSchema?: unknown;
}

/** 16 hexadecimal digits that are equal where names and schemas are, whatever the order of tools and keys. */
export function toolsFingerprint(tools: readonly FingerprintedTool[]): string {
  const lines = tools.map(({ name, inputSchema, outputSchema }) =>
    canonical([name, inputSchema, outputSchema]),
  );
  return hash64(lines.sort().join('\n'));
}

export interface FingerprintedReplica {
  readonly id: string;
  /** Undefined while it has not listed its tools. */
  readonly fingerprint: string | undefined;
}

export interface Agreement {
  /** The fingerprint of the pool; undefined while nobody has listed. */
  readonly fingerprint: string | undefined;
  /** Replicas that have another one: suspect, or a pool of their own. */
  readonly odd: readonly string[];
  /** All pools this could be split into, the one that agreed first. */
  readonly groups: readonly { readonly fingerprint: string; readonly ids: readonly string[] }[];
}

/**
 * Replicas are one pool only while they offer the same tools. The most frequent fingerprint is the pool's; in a draw the
 * one `before` keeps it (a rolling upgrade must not flip halfway and back), else the one declared first.
 */
export function agreement(replicas: readonly FingerprintedReplica[], before?: string): Agreement {
  const byPrint = new Map<string, string[]>();
  for (const { id, fingerprint } of replicas) {
    if (fingerprint === undefined) continue;
    const ids = byPrint.get(fingerprint);
    if (ids === undefined) byPrint.set(fingerprint, [id]);
    else ids.push(id);
  }
  const rank = (fingerprint: string): number => (fingerprint === before ? 1 : 0);
  // The sort is stable: what is alike stays in order of declaration.
  const groups = [...byPrint]
    .map(([fingerprint, ids]) => ({ fingerprint, ids }))
    .sort((a, b) => b.ids.length - a.ids.length || rank(b.fingerprint) - rank(a.fingerprint));
  return { fingerprint: groups[0]?.fingerprint, odd: groups.slice(1).flatMap(({ ids }) => ids), groups };
}

/** JSON with the keys sorted. Depth is bounded where the message was read. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (!isJson(value)) return JSON.stringify(value) ?? 'null';
  const members = Object.keys(value)
    .filter((key) => value[key] !== undefined)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`);
  return `{${members.join(',')}}`;
}

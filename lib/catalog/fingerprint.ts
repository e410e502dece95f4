import { createHash } from 'node:crypto';
import { canonicalJson } from './canonical-json.ts';

/** What makes a tool the tool that was approved: what a model reads and what is sent. Icons and `_meta` are not among it. */
const DEFINING = ['name', 'title', 'description', 'inputSchema', 'outputSchema', 'annotations'] as const;

type Definition = Readonly<Record<string, unknown>>;

/**
 * SHA-256, 64 hexadecimal digits, of a tool as its server defined it; equal for equal definitions whatever the order
 * of keys. Give `originalName` for an item that carries its exposed name. Throws `limit_exceeded` for a monster.
 */
export function fingerprintTool(tool: Definition, originalName?: string): string {
  const definition: [string, unknown][] = [];
  for (const field of DEFINING) {
    const value = field === 'name' && originalName !== undefined ? originalName : own(tool, field);
    if (value !== undefined) definition.push([field, value]);
  }
  return sha256(canonicalJson(Object.fromEntries(definition)));
}

/** Of a whole list, as its server sent it; the order of the tools does not matter. Equal on replicas that agree. */
export function fingerprintTools(tools: readonly Definition[]): string {
  return sha256(
    tools
      .map((tool) => fingerprintTool(tool))
      .sort()
      .join('\n'),
  );
}

function own(tool: Definition, field: string): unknown {
  return Object.hasOwn(tool, field) ? tool[field] : undefined;
}

function sha256(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('hex');
}

import type { TroupeError } from '../core/errors.ts';
import type { ListKind } from '../core/events.ts';
import { isJson, type Json } from '../core/json-rpc.ts';
import { brokenParamHeader } from './param-header-rules.ts';
import { parseTemplate } from './template.ts';

/** What servers list, as they sent it: fields unknown to us stay where they are. */
export interface ToolItem extends Json {
  readonly name: string;
  readonly title?: string | undefined;
  readonly description?: string | undefined;
  readonly inputSchema: Json;
  readonly outputSchema?: Json | undefined;
  readonly annotations?: Json | undefined;
}

interface PromptItem extends Json {
  readonly name: string;
  readonly title?: string | undefined;
  readonly description?: string | undefined;
  readonly arguments?: readonly Json[] | undefined;
}

export interface ResourceItem extends Json {
  readonly uri: string;
  readonly name: string;
  readonly title?: string | undefined;
  readonly description?: string | undefined;
  readonly mimeType?: string | undefined;
}

interface ResourceTemplateItem extends Json {
  readonly uriTemplate: string;
  readonly name: string;
  readonly title?: string | undefined;
  readonly description?: string | undefined;
  readonly mimeType?: string | undefined;
}

export interface ItemOf {
  readonly tools: ToolItem;
  readonly prompts: PromptItem;
  readonly resources: ResourceItem;
  readonly resourceTemplates: ResourceTemplateItem;
}

export type CacheScope = 'public' | 'private';

/** One list of one server, all pages. */
export interface InventoryList<T> {
  readonly items: readonly T[];
  /** How long the server says the list holds, milliseconds from `listedAt`. */
  readonly ttlMs?: number | undefined;
  readonly cacheScope?: CacheScope | undefined;
  /** When the last page arrived, on the engine's clock (monotonic milliseconds). */
  readonly listedAt: number;
  /** The items are those known before the server was lost. */
  readonly stale?: boolean | undefined;
  /** Why the list is missing, old or incomplete. */
  readonly failure?: TroupeError | undefined;
}

/** What one server lists. A server with replicas has one inventory. */
export interface Inventory {
  readonly server: string;
  readonly tools: InventoryList<ToolItem>;
  readonly prompts: InventoryList<PromptItem>;
  readonly resources: InventoryList<ResourceItem>;
  readonly resourceTemplates: InventoryList<ResourceTemplateItem>;
  /** As negotiated. */
  readonly capabilities?: Json | undefined;
  readonly serverInfo?: Json | undefined;
  readonly instructions?: string | undefined;
}

const LIST_KINDS: readonly ListKind[] = ['tools', 'resources', 'resourceTemplates', 'prompts'];

/** The inventory of a server that has listed nothing yet; with `failure`, because it could not. */
export function emptyInventory(server: string, listedAt: number, failure?: TroupeError): Inventory {
  const list = { items: [], listedAt, ...(failure === undefined ? {} : { failure }) };
  return { server, tools: list, prompts: list, resources: list, resourceTemplates: list };
}

/**
 * The inventory of a server that is lost, or whose list of `kinds` failed: the last known items stay, marked as
 * stale and with the reason. The items are the same array, so nothing is named or indexed anew.
 */
export function staleInventory(
  last: Inventory,
  failure: TroupeError,
  kinds: readonly ListKind[] = LIST_KINDS,
): Inventory {
  const marked = <T>(kind: ListKind, list: InventoryList<T>): InventoryList<T> =>
    kinds.includes(kind) ? { ...list, stale: true, failure } : list;
  return {
    ...last,
    tools: marked('tools', last.tools),
    prompts: marked('prompts', last.prompts),
    resources: marked('resources', last.resources),
    resourceTemplates: marked('resourceTemplates', last.resourceTemplates),
  };
}

interface SkippedItem {
  /** Its name or URI where it has one, else its position: `#3`. */
  readonly item: string;
  readonly reason: string;
}

export interface CheckedItems<T> {
  readonly items: readonly T[];
  readonly skipped: readonly SkippedItem[];
}

/**
 * The outline check of a list: a malformed item is left out with the reason and hides nothing else; good ones are
 * handed through as they are, by reference. `null` in an optional field counts as absent (servers in Python send it).
 * No schema is compiled here. Never throws.
 */
export function checkItems<K extends ListKind>(
  kind: K,
  rawItems: readonly unknown[],
  options: {
    /** The server is reached over HTTP in the modern era: `x-mcp-header` annotations must be valid. Default false. */
    readonly httpHeaders?: boolean | undefined;
  } = {},
): CheckedItems<ItemOf[K]> {
  const items: ItemOf[K][] = [];
  const skipped: SkippedItem[] = [];
  const seen = new Set<string>();
  const identity = IDENTITY[kind];
  for (let i = 0; i < rawItems.length; i += 1) {
    const raw = rawItems[i];
    let label = `#${i}`;
    try {
      if (!isJson(raw)) {
        skipped.push({ item: label, reason: 'is not an object' });
        continue;
      }
      const id = raw[identity];
      if (typeof id === 'string' && id !== '') label = id;
      const reason = OUTLINES[kind](raw) ?? (options.httpHeaders === true ? httpRule(kind, raw) : undefined);
      if (reason !== undefined) {
        skipped.push({ item: label, reason });
        continue;
      }
      if (seen.has(label)) {
        skipped.push({
          item: label,
          reason: `is listed twice by this server (${identity}); the first one counts`,
        });
        continue;
      }
      seen.add(label);
      items.push(raw as ItemOf[K]);
    } catch (error) {
      // Only an in-process server can hand over something that throws while being read.
      skipped.push({ item: label, reason: `cannot be read: ${String(error)}` });
    }
  }
  return { items, skipped };
}

/** Which field of an item says which it is. */
export const IDENTITY: Readonly<Record<ListKind, string>> = {
  tools: 'name',
  prompts: 'name',
  resources: 'uri',
  resourceTemplates: 'uriTemplate',
};

const OUTLINES: Readonly<Record<ListKind, (raw: Json) => string | undefined>> = {
  tools: (raw) => {
    const reason = required(raw, 'name') ?? optionalTexts(raw);
    if (reason !== undefined) return reason;
    const { inputSchema } = raw;
    if (!isJson(inputSchema)) return 'inputSchema is not an object';
    if (inputSchema['type'] !== 'object') return 'inputSchema is not of type "object"';
    return optionalObject(raw, 'outputSchema') ?? optionalObject(raw, 'annotations');
  },
  prompts: (raw) => required(raw, 'name') ?? optionalTexts(raw) ?? promptArguments(raw['arguments']),
  resources: (raw) => required(raw, 'uri') ?? resourceFields(raw),
  resourceTemplates: (raw) => {
    const reason = required(raw, 'uriTemplate') ?? resourceFields(raw);
    if (reason !== undefined) return reason;
    const parsed = parseTemplate(raw['uriTemplate'] as string);
    return parsed.ok ? undefined : `uriTemplate is invalid: ${parsed.reason}`;
  },
};

function httpRule(kind: ListKind, raw: Json): string | undefined {
  return kind === 'tools' ? brokenParamHeader(raw['inputSchema']) : undefined;
}

function required(raw: Json, field: string): string | undefined {
  const value = raw[field];
  if (typeof value !== 'string') return `${field} is not a string`;
  return value === '' ? `${field} is empty` : undefined;
}

function optionalTexts(raw: Json): string | undefined {
  return optionalText(raw, 'title') ?? optionalText(raw, 'description');
}

function optionalText(raw: Json, field: string): string | undefined {
  const value = raw[field];
  return value === undefined || value === null || typeof value === 'string'
    ? undefined
    : `${field} is not a string`;
}

function optionalObject(raw: Json, field: string): string | undefined {
  const value = raw[field];
  return value === undefined || value === null || isJson(value) ? undefined : `${field} is not an object`;
}

function resourceFields(raw: Json): string | undefined {
  if (typeof raw['name'] !== 'string') return 'name is not a string';
  return optionalTexts(raw) ?? optionalText(raw, 'mimeType');
}

function promptArguments(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (!Array.isArray(value)) return 'arguments is not an array';
  const named = value.every((argument) => isJson(argument) && typeof argument['name'] === 'string');
  return named ? undefined : 'an argument has no name';
}

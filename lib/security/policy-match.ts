import type { Principal } from '../core/request.ts';
import type { PolicyQuery } from './policy-engine.ts';
import type { CompiledRule } from './policy-rule.ts';
import type { NormalUri } from './uri.ts';

/** What an operation is about. */
export type Subject = 'tool' | 'resource' | 'prompt' | 'reference' | 'nothing';

export interface OperationTraits {
  readonly subject: Subject;
  /**
   * A list is asked for as a whole, and rules about single things decide about its items later. Everywhere else a rule
   * that denies also denies where the query does not tell what it would need to know.
   */
  readonly lists: boolean;
}

const NOTHING: OperationTraits = { subject: 'nothing', lists: false };
const TRAITS: ReadonlyMap<string, OperationTraits> = new Map<string, OperationTraits>([
  ['tools.call', { subject: 'tool', lists: false }],
  ['tools.list', { subject: 'tool', lists: true }],
  ['resources.read', { subject: 'resource', lists: false }],
  ['resources.subscribe', { subject: 'resource', lists: false }],
  ['resources.list', { subject: 'resource', lists: true }],
  ['prompts.get', { subject: 'prompt', lists: false }],
  ['prompts.list', { subject: 'prompt', lists: true }],
  ['completion', { subject: 'reference', lists: false }],
]);

export function traitsOf(operation: string): OperationTraits {
  return TRAITS.get(operation) ?? NOTHING;
}

/** A query made ready: who asks, and the resource in its one spelling. A class for the reason that `Copy` in `core/request.ts` tells. */
export class Asked {
  readonly query: PolicyQuery;
  readonly who: Principal;
  readonly traits: OperationTraits;
  readonly uri: NormalUri | undefined;
  /** Capabilities that roles bring along. */
  readonly roleCapabilities: ReadonlyMap<string, ReadonlySet<string>>;

  constructor(
    query: PolicyQuery,
    who: Principal,
    uri: NormalUri | undefined,
    roleCapabilities: Asked['roleCapabilities'],
  ) {
    this.query = query;
    this.who = who;
    this.traits = traitsOf(query.operation);
    this.uri = uri;
    this.roleCapabilities = roleCapabilities;
  }
}

/** Does the rule apply, its `when` aside? */
export function applies(rule: CompiledRule, asked: Asked): boolean {
  const { query } = asked;
  if (rule.servers !== undefined && !serverFits(rule, asked)) return false;
  if (rule.named && !subjectFits(rule, asked)) return false;
  if (!familyFits(rule, query)) return false;
  return whoFits(rule, asked);
}

/** Is the rule for this principal? */
export function whoFits(rule: CompiledRule, asked: Asked): boolean {
  const { who } = asked;
  if (rule.principals !== undefined && !rule.principals(who.id)) return false;
  if (rule.roles !== undefined && !hasRole(rule.roles, who)) return false;
  return rule.capabilities === undefined || rule.capabilities.every((capability) => holds(asked, capability));
}

export function serverFits(rule: CompiledRule, { query, traits }: Asked): boolean {
  if (rule.servers === undefined) return true;
  return query.server === undefined ? !rule.allows && !traits.lists : rule.servers(query.server);
}

export function familyFits(rule: CompiledRule, query: PolicyQuery): boolean {
  if (rule.admin !== undefined && query.operation.startsWith('admin.')) return rule.admin(query.operation);
  if (rule.vendor !== undefined && query.operation === 'vendor') {
    return query.method === undefined ? !rule.allows : rule.vendor(query.method);
  }
  return true;
}

export function hasRole(roles: readonly string[], who: Principal): boolean {
  const held = who.roles;
  if (held === undefined) return false;
  for (let i = 0; i < held.length; i++) if (roles.includes(held[i]!)) return true;
  return false;
}

export function holds({ who, roleCapabilities }: Asked, capability: string): boolean {
  if (who.capabilities?.includes(capability) === true) return true;
  if (roleCapabilities.size === 0 || who.roles === undefined) return false;
  return who.roles.some((role) => roleCapabilities.get(role)?.has(capability) === true);
}

export function subjectFits(rule: CompiledRule, asked: Asked): boolean {
  if (!rule.named) return true;
  const { query, traits } = asked;
  switch (traits.subject) {
    case 'tool':
      return (
        rule.tools !== undefined &&
        (query.tool === undefined ? unknownFits(rule, traits) : rule.tools(query.tool))
      );
    case 'resource':
      return rule.resources !== undefined && resourceFits(rule, asked);
    case 'prompt':
      return rule.prompts !== undefined && promptFits(rule, asked);
    case 'reference':
      if (query.prompt !== undefined) return rule.prompts !== undefined && promptFits(rule, asked);
      if (query.resource !== undefined) return rule.resources !== undefined && resourceFits(rule, asked);
      return (rule.prompts !== undefined || rule.resources !== undefined) && unknownFits(rule, traits);
    case 'nothing':
      break;
  }
  return false;
}

function promptFits(rule: CompiledRule, { query, traits }: Asked): boolean {
  return query.prompt === undefined ? unknownFits(rule, traits) : rule.prompts?.(query.prompt) === true;
}

function resourceFits(rule: CompiledRule, { uri, traits }: Asked): boolean {
  if (uri === undefined) return unknownFits(rule, traits);
  if (rule.resources === undefined) return false;
  return rule.resources(uri.full) || (!rule.allows && uri.bare !== uri.full && rule.resources(uri.bare));
}

function unknownFits(rule: CompiledRule, traits: OperationTraits): boolean {
  return !rule.allows && !traits.lists;
}

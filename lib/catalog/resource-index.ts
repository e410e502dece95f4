import { TroupeError } from '../core/errors.ts';
import type { ListSection } from './list-section.ts';
import { PersistentMap, type MapDraft } from './persistent-map.ts';
import { matchesTemplate, parsePattern, type Template } from './template.ts';
import { schemeOf } from './uri.ts';

/** Said by the host: URIs like this belong to that server, whether it lists them or not. */
export interface ResourcePattern {
  /** `*` is anything but `/`, `**` anything: `file://**`. */
  readonly match: string;
  /** The configured server. */
  readonly to: string;
}

/**
 * What speaks for a server: `uri` it lists it; `template` one of its templates fits; `pattern` the host said so;
 * `scheme` it lists others of this scheme.
 */
export type ResourceEvidence = 'uri' | 'template' | 'pattern' | 'scheme';

export interface ResourceMatch {
  readonly by: ResourceEvidence;
  readonly servers: ReadonlySet<string>;
}

export interface ResourceSections {
  readonly resources: ListSection<'resources'>;
  readonly resourceTemplates: ListSection<'resourceTemplates'>;
}

type Servers = readonly string[];

/** Where the scheme of a template is variable. */
const ANY_SCHEME = '';

/** Who may have a URI. Immutable: a changed server gives a new index. */
export class ResourceIndex {
  readonly #uris: PersistentMap<Servers>;
  /** Servers that list a resource or a template of a scheme. */
  readonly #schemes: PersistentMap<Servers>;
  /** Servers that have a template of a scheme. */
  readonly #templates: PersistentMap<Servers>;
  readonly #patterns: readonly { readonly template: Template; readonly to: string }[];

  private constructor(
    uris: PersistentMap<Servers>,
    schemes: PersistentMap<Servers>,
    templates: PersistentMap<Servers>,
    patterns: readonly { readonly template: Template; readonly to: string }[],
  ) {
    this.#uris = uris;
    this.#schemes = schemes;
    this.#templates = templates;
    this.#patterns = patterns;
  }

  static create(patterns: readonly ResourcePattern[]): ResourceIndex {
    const compiled = patterns.map(({ match, to }, i) => {
      const parsed = parsePattern(match);
      if (parsed.ok) return { template: parsed.template, to };
      throw new TroupeError(
        'config_invalid',
        `resource pattern ${i + 1} (${JSON.stringify(match)}): ${parsed.reason}`,
        {
          server: to,
        },
      );
    });
    return new ResourceIndex(PersistentMap.empty(), PersistentMap.empty(), PersistentMap.empty(), compiled);
  }

  /** `before` and `after` are the same server's; absent: it was or will be unknown. */
  change(
    server: string,
    before: ResourceSections | undefined,
    after: ResourceSections | undefined,
  ): ResourceIndex {
    const sameUris = before?.resources.list.items === after?.resources.list.items;
    const sameTemplates = before?.resourceTemplates.list.items === after?.resourceTemplates.list.items;
    if (sameUris && sameTemplates) return this;
    const uris = replace(this.#uris, server, urisOf(before), urisOf(after));
    const schemes = replace(this.#schemes, server, schemesOf(before), schemesOf(after));
    const templates = sameTemplates
      ? this.#templates
      : replace(this.#templates, server, templateSchemesOf(before), templateSchemesOf(after));
    return new ResourceIndex(uris, schemes, templates, this.#patterns);
  }

  /** The strongest evidence there is, and everyone it speaks for. */
  find(
    uri: string,
    sectionsOf: (server: string) => ResourceSections | undefined,
    admits: (server: string) => boolean,
  ): ResourceMatch | undefined {
    const listed = admitted(this.#uris.get(uri), admits);
    if (listed.size > 0) return { by: 'uri', servers: listed };
    const scheme = schemeOf(uri);
    const able = admitted(this.#templates.get(scheme), admits);
    if (scheme !== ANY_SCHEME)
      for (const server of admitted(this.#templates.get(ANY_SCHEME), admits)) able.add(server);
    for (const server of able) {
      const templates = sectionsOf(server)?.resourceTemplates.templates() ?? [];
      if (!templates.some((template) => matchesTemplate(template, uri))) able.delete(server);
    }
    if (able.size > 0) return { by: 'template', servers: able };
    for (const { template, to } of this.#patterns) {
      if (admits(to) && matchesTemplate(template, uri)) return { by: 'pattern', servers: new Set([to]) };
    }
    const related = scheme === '' ? NOBODY : admitted(this.#schemes.get(scheme), admits);
    return related.size > 0 ? { by: 'scheme', servers: related } : undefined;
  }
}

const NOBODY: ReadonlySet<string> = new Set();

function admitted(servers: Servers | undefined, admits: (server: string) => boolean): Set<string> {
  return new Set(servers?.filter(admits));
}

/** Templates too, as they are written: completion names its template so. */
function urisOf(sections: ResourceSections | undefined): ReadonlySet<string> {
  const uris = new Set<string>();
  if (sections === undefined) return uris;
  for (const uri of sections.resources.ids()) uris.add(uri);
  for (const text of sections.resourceTemplates.ids()) uris.add(text);
  return uris;
}

function schemesOf(sections: ResourceSections | undefined): ReadonlySet<string> {
  const schemes = new Set<string>();
  if (sections === undefined) return schemes;
  for (const uri of sections.resources.ids()) schemes.add(schemeOf(uri));
  for (const { scheme } of sections.resourceTemplates.templates()) schemes.add(scheme);
  schemes.delete('');
  return schemes;
}

function templateSchemesOf(sections: ResourceSections | undefined): ReadonlySet<string> {
  return new Set(sections?.resourceTemplates.templates().map(({ scheme }) => scheme));
}

function replace(
  map: PersistentMap<Servers>,
  server: string,
  before: ReadonlySet<string>,
  after: ReadonlySet<string>,
): PersistentMap<Servers> {
  return map.edit((draft) => {
    for (const key of before) if (!after.has(key)) remove(draft, key, server);
    for (const key of after) if (!before.has(key)) draft.set(key, [...(draft.get(key) ?? []), server]);
  });
}

function remove(draft: MapDraft<Servers>, key: string, server: string): void {
  const rest = draft.get(key)?.filter((other) => other !== server) ?? [];
  if (rest.length === 0) draft.delete(key);
  else draft.set(key, rest);
}

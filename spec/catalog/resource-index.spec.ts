import { describe, expect, it } from '@jest/globals';
import { emptyInventory } from '../../lib/catalog/inventory.ts';
import { ListSection } from '../../lib/catalog/list-section.ts';
import {
  ResourceIndex,
  type ResourcePattern,
  type ResourceSections,
} from '../../lib/catalog/resource-index.ts';

const sections = (
  server: string,
  uris: readonly string[],
  templates: readonly string[] = [],
): ResourceSections => {
  const { listedAt } = emptyInventory(server, 0).tools;
  return {
    resources: new ListSection('resources', server, {
      items: uris.map((uri) => ({ uri, name: uri })),
      listedAt,
    }),
    resourceTemplates: new ListSection('resourceTemplates', server, {
      items: templates.map((uriTemplate) => ({ uriTemplate, name: uriTemplate })),
      listedAt,
    }),
  };
};

function indexed(
  servers: Readonly<Record<string, readonly [string[], string[]?]>>,
  patterns: ResourcePattern[] = [],
) {
  const known = new Map<string, ResourceSections>();
  let index = ResourceIndex.create(patterns);
  for (const [server, [uris, templates]] of Object.entries(servers)) {
    const after = sections(server, uris, templates);
    known.set(server, after);
    index = index.change(server, undefined, after);
  }
  const find = (uri: string, admits: (server: string) => boolean = () => true, at = index): string => {
    const match = at.find(uri, (server) => known.get(server), admits);
    return match === undefined ? 'nobody' : `${match.by}: ${[...match.servers].join(' ')}`;
  };
  return { index, known, find };
}

describe('ResourceIndex', () => {
  it('asks the strongest evidence first', () => {
    const { find } = indexed(
      {
        lists: [['doc://a']],
        also: [['doc://a', 'img://1']],
        matches: [[], ['doc://{id}', '{+any}.md']],
        told: [[]],
      },
      [
        { match: 'file://**', to: 'told' },
        { match: 'doc://x/**', to: 'told' },
      ],
    );
    expect(
      [
        'doc://a',
        'doc://b',
        'http://x.md',
        'doc://x/y',
        'file:///etc',
        'img://2',
        'DOC://q/r',
        'none://x',
        'none',
      ].map((u) => find(u)),
    ).toEqual([
      'uri: lists also',
      'template: matches',
      'template: matches',
      'pattern: told',
      'pattern: told',
      'scheme: also',
      'scheme: lists also matches',
      'nobody',
      'nobody',
    ]);
  });

  it('finds templates by their own text', () => {
    expect(indexed({ s: [[], ['doc://x{?q}']] }).find('doc://x{?q}')).toBe('uri: s');
  });

  it('looks only at who is admitted, and goes on where nobody is', () => {
    const { find } = indexed({ a: [['doc://a']], b: [[], ['doc://{x}']], c: [['doc://c']] });
    expect(find('doc://a', (server) => server !== 'a')).toBe('template: b');
    expect(find('doc://a', (server) => server === 'c')).toBe('scheme: c');
    expect(find('doc://a', () => false)).toBe('nobody');
  });

  it('replaces one server and leaves the old index alone', () => {
    const { index, known, find } = indexed({ a: [['x://1']], b: [['x://1'], ['y://{z}']] });
    const next = index.change('b', known.get('b'), undefined);
    expect(find('x://1', undefined, next)).toBe('uri: a');
    expect(find('y://1', undefined, next)).toBe('nobody');
    expect(find('x://1')).toBe('uri: a b');
    expect(find('y://1')).toBe('template: b');
    expect(index.change('a', known.get('a'), known.get('a'))).toBe(index);
  });

  it('refuses a bad pattern, naming it', () => {
    expect(() => ResourceIndex.create([{ match: '', to: 's' }])).toThrow(
      '[config_invalid] s: resource pattern 1 (""): it is empty',
    );
  });
});

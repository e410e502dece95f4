import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  createCatalog,
  without,
  withInventory,
  withOrder,
  type Catalog,
  type LookupOptions,
} from '../../lib/catalog/catalog.ts';
import { emptyInventory, staleInventory, type Inventory } from '../../lib/catalog/inventory.ts';
import type { Naming } from '../../lib/catalog/naming.ts';
import { TroupeError } from '../../lib/core/errors.ts';

const inputSchema = { type: 'object' };

interface Offer {
  readonly tools?: readonly string[];
  readonly prompts?: readonly string[];
  readonly uris?: readonly string[];
  readonly templates?: readonly string[];
}

function inventory(server: string, offer: Offer): Inventory {
  const { tools = [], prompts = [], uris = [], templates = [] } = offer;
  return {
    ...emptyInventory(server, 0),
    tools: {
      items: tools.map((name) => ({ name, inputSchema })),
      listedAt: 1,
      ttlMs: 100,
      cacheScope: 'public',
    },
    prompts: { items: prompts.map((name) => ({ name })), listedAt: 1 },
    resources: { items: uris.map((uri) => ({ uri, name: uri })), listedAt: 1 },
    resourceTemplates: {
      items: templates.map((uriTemplate) => ({ uriTemplate, name: uriTemplate })),
      listedAt: 1,
    },
  };
}

/** A catalog of these servers, declared in this order and listed in `arrival` (default: the same). */
function catalogOf(
  offers: Readonly<Record<string, Offer>>,
  naming: Naming = 'prefixed',
  arrival = Object.keys(offers),
): Catalog {
  return arrival.reduce(
    (catalog, server) => withInventory(catalog, server, inventory(server, offers[server] ?? {})),
    createCatalog(Object.keys(offers), naming),
  );
}

const names = (catalog: Catalog): string[] => catalog.list('tools').map(({ name }) => name);

function refusal(ask: () => unknown): TroupeError {
  try {
    ask();
  } catch (error) {
    return error as TroupeError;
  }
  throw new Error('nothing was refused');
}

describe('lookups', () => {
  const catalog = catalogOf({
    github: { tools: ['create_issue', 'search'], prompts: ['ask'] },
    files: { tools: ['search', 'read'] },
  });
  const tool = (name: string, options?: LookupOptions): string => {
    const { server, originalName } = catalog.tool(name, options);
    return `${server}/${originalName}`;
  };

  it('by exposed name, and by original name where one server only has it', () => {
    expect([tool('github__search'), tool('files__search'), tool('read')]).toEqual([
      'github/search',
      'files/search',
      'files/read',
    ]);
    expect(catalog.prompt('ask').name).toBe('github__ask');
    expect(catalog.tool('read')).toBe(catalog.list('tools')[3]);
  });

  it('among several, ambiguous_name names the candidates in order of declaration', () => {
    const error = refusal(() => tool('search'));
    expect(error).toMatchObject({
      code: 'ambiguous_name',
      delivery: 'unsent',
      data: {
        candidates: [
          { server: 'github', name: 'github__search' },
          { server: 'files', name: 'files__search' },
        ],
      },
    });
    expect(error.message).toContain('"github__search" (server "github"), "files__search" (server "files")');
    expect(tool('search', { servers: ['files'] })).toBe('files/search');
  });

  it('not_found suggests what was meant', () => {
    expect(refusal(() => tool('github__create_isue'))).toMatchObject({
      code: 'not_found',
      message:
        '[not_found] no server has the tool "github__create_isue"; did you mean "github__create_issue"?',
      data: { near: ['github__create_issue'] },
    });
    expect(refusal(() => catalog.prompt('zzzzzzz')).message).toBe(
      '[not_found] no server has the prompt "zzzzzzz"',
    );
  });

  it('what is not visible is neither found, nor ambiguous, nor suggested', () => {
    const visible = (server: string): boolean => server === 'files';
    expect(tool('search', { visible })).toBe('files/search');
    expect(refusal(() => tool('github__search', { visible }))).toMatchObject({ code: 'not_found' });
    const { message } = refusal(() => tool('github__create_issue', { visible }));
    expect(message).toBe('[not_found] no server has the tool "github__create_issue"');
  });

  it('says when a server has stopped listing what was its', () => {
    const later = withInventory(catalog, 'files', inventory('files', { tools: ['read'] }));
    expect(refusal(() => later.tool('files__search')).message).toBe(
      '[not_found] files: the server does not list the tool "search" any more',
    );
    expect(later.tool('search').server).toBe('github');
  });

  it.each(['__proto__', 'constructor', 'toString', '', 'x'.repeat(10_000), '🙂', '\u202e\u0000'])(
    'takes %j for a name as any other',
    (name) => {
      expect(refusal(() => catalog.tool(name)).code).toBe('not_found');
      const listing = withInventory(catalog, 'github', inventory('github', { tools: [name] }));
      expect(listing.tool(listing.list('tools')[0]?.name ?? '').originalName).toBe(name);
      expect(listing.tool(name).server).toBe('github');
      const { message } = refusal(() => catalog.resource(name));
      expect(message.length).toBeLessThan(200);
    },
  );
});

describe('lists', () => {
  it('stand in order of declaration whoever connects first, and carry where an item comes from', () => {
    const offers = { a: { tools: ['x'] }, b: { tools: ['x', 'y'] } };
    for (const arrival of [
      ['a', 'b'],
      ['b', 'a'],
    ]) {
      expect(catalogOf(offers, 'prefixed', arrival).list('tools')).toEqual([
        { name: 'a__x', inputSchema, server: 'a', originalName: 'x' },
        { name: 'b__x', inputSchema, server: 'b', originalName: 'x' },
        { name: 'b__y', inputSchema, server: 'b', originalName: 'y' },
      ]);
    }
  });

  it('are remembered: a change of one server rebuilds nothing of another', () => {
    const one = catalogOf({ a: { tools: ['x'] }, b: { tools: ['y'] } });
    expect(one.list('tools')).toBe(one.list('tools'));
    const two = withInventory(one, 'b', inventory('b', { tools: ['z'] }));
    expect(two.listOf('a', 'tools')).toBe(one.listOf('a', 'tools'));
    expect([names(one), names(two)]).toEqual([
      ['a__x', 'b__y'],
      ['a__x', 'b__z'],
    ]);
  });

  it('of a lost server stay, marked as stale', () => {
    const error = new TroupeError('connection_lost', 'gone', { server: 'a' });
    const one = catalogOf({ a: { tools: ['x'] }, b: { tools: ['y'] } });
    const two = withInventory(one, 'a', staleInventory(one.inventory('a') as Inventory, error));
    expect(two.list('tools').map(({ name, stale }) => [name, stale])).toEqual([
      ['a__x', true],
      ['b__y', undefined],
    ]);
    expect(two.tool('a__x').stale).toBe(true);
    expect(two.parts('tools', ['a'])).toEqual([
      {
        server: 'a',
        items: two.listOf('a', 'tools'),
        ttlMs: 100,
        cacheScope: 'public',
        listedAt: 1,
        stale: true,
        failure: error,
      },
    ]);
    expect(one.tool('a__x')).not.toHaveProperty('stale');
  });

  it('are empty where nothing has been listed', () => {
    const catalog = createCatalog(['a', 'a', 'b']);
    expect([
      catalog.order,
      catalog.list('prompts'),
      catalog.listOf('nobody', 'tools'),
      catalog.parts('tools'),
    ]).toEqual([['a', 'b'], [], [], []]);
  });
});

describe('resources', () => {
  it('two servers that offer one URI are listed both, and asked in order of declaration', () => {
    const offers = { a: { uris: ['doc://1'] }, b: { uris: ['doc://1'], templates: ['doc://{id}'] } };
    const catalog = catalogOf(offers, 'prefixed', ['b', 'a']);
    expect(catalog.list('resources').map(({ uri, server }) => `${server} ${uri}`)).toEqual([
      'a doc://1',
      'b doc://1',
    ]);
    expect(catalog.resource('doc://1')).toEqual({ by: 'uri', servers: ['a', 'b'] });
    expect(catalog.resource('doc://2')).toEqual({ by: 'template', servers: ['b'] });
    expect(catalog.resource('doc://1', { servers: ['b'] })).toEqual({ by: 'uri', servers: ['b'] });
  });

  it('that nobody has are not_found with what was meant', () => {
    const catalog = catalogOf({ a: { uris: ['doc://readme'] } });
    expect(refusal(() => catalog.resource('dok://readme'))).toMatchObject({
      code: 'not_found',
      data: { near: ['doc://readme'] },
    });
    expect(refusal(() => catalog.resource('x://y', { servers: ['a'] })).message).toBe(
      '[not_found] of "a" none has the resource "x://y"',
    );
  });

  it('go where the host says, but not to a server that is not declared', () => {
    const patterns = [
      { match: 'file://**', to: 'gone' },
      { match: 'file://**', to: 'files' },
    ];
    const catalog = createCatalog(['files'], 'prefixed', patterns);
    expect(catalog.resource('file:///a')).toEqual({ by: 'pattern', servers: ['files'] });
  });
});

describe('changes', () => {
  it('report what could not be named as wished', () => {
    const one = createCatalog(['a__b', 'a']);
    const two = withInventory(one, 'a__b', inventory('a__b', { tools: ['c'] }));
    const three = withInventory(two, 'a', inventory('a', { tools: ['b__c'] }));
    expect([one.reports, two.reports]).toEqual([[], []]);
    expect(three.reports).toEqual([expect.objectContaining({ kind: 'tools', servers: ['a__b', 'a'] })]);
  });

  it('forget a server that is gone, and take it back where it was declared', () => {
    const one = catalogOf({ a: { tools: ['x'], uris: ['u://1'] }, b: { tools: ['x'] } });
    const two = without(one, 'a');
    expect([two.order, names(two), two.tool('x').server]).toEqual([['b'], ['b__x'], 'b']);
    expect(refusal(() => two.resource('u://1')).code).toBe('not_found');
    expect(without(two, 'a')).toBe(two);
    const three = withInventory(withOrder(two, ['a', 'b']), 'a', inventory('a', { tools: ['y'] }));
    expect(names(three)).toEqual(['a__y', 'b__x']);
    expect(names(withInventory(two, 'late', inventory('late', { tools: ['z'] })))).toEqual([
      'b__x',
      'late__z',
    ]);
    expect(names(one)).toEqual(['a__x', 'b__x']);
  });

  it('of the order move lists, not names', () => {
    const one = catalogOf({ a: { tools: ['x'] }, b: { tools: ['y'] } });
    expect(names(withOrder(one, ['b', 'a']))).toEqual(['b__y', 'a__x']);
  });

  it('with `transparent` put the server in front where a name is no longer one server’s own, and take it away again', () => {
    const one = catalogOf({ a: { tools: ['x', 'y'] }, b: {} }, 'transparent');
    expect(names(one)).toEqual(['x', 'y']);
    const two = withInventory(one, 'b', inventory('b', { tools: ['x'] }));
    expect(names(two)).toEqual(['a__x', 'y', 'b__x']);
    expect(two.reports[0]?.servers).toEqual(['a', 'b']);
    expect(refusal(() => two.tool('x')).code).toBe('ambiguous_name');
    expect(names(without(two, 'b'))).toEqual(['x', 'y']);
    expect(names(one)).toEqual(['x', 'y']);
  });

  it('of foreign catalogs are refused', () => {
    expect(
      refusal(() => withInventory({ order: ['a'] } as unknown as Catalog, 'a', emptyInventory('a', 0))).code,
    ).toBe('internal');
  });

  it('never change the names of another server, and old catalogs stay as they were', () => {
    const server = fc.constantFrom('a', 'a__b', 'A', 'c');
    const word = fc.constantFrom('x', 'X', 'b__x', 'a__x', '__proto__', 'x.y', '');
    const steps = fc.array(fc.tuple(server, fc.uniqueArray(word)), { maxLength: 10 });
    const shownBy = (catalog: Catalog, name: string): unknown[] =>
      catalog.listOf(name, 'tools').map((item) => [item.originalName, item.name]);
    fc.assert(
      fc.property(steps, fc.boolean(), (changes, lookBetween) => {
        let catalog = createCatalog(['a', 'a__b', 'A', 'c']);
        const past: { catalog: Catalog; shown: unknown }[] = [];
        for (const [name, tools] of changes) {
          const others = catalog.order.filter((other) => other !== name);
          const before = lookBetween ? others.map((other) => shownBy(catalog, other)) : undefined;
          const next = withInventory(catalog, name, inventory(name, { tools }));
          const after = others.map((other) => shownBy(next, other));
          expect(after).toEqual(before ?? others.map((other) => shownBy(catalog, other)));
          past.push({ catalog: next, shown: names(next) });
          catalog = next;
        }
        for (const { catalog: old, shown } of past) {
          expect(old.list('tools').map(({ name }) => old.tool(name).name)).toEqual(shown);
        }
      }),
    );
  });

  it('one after the other give what a catalog built anew would list', () => {
    const offers = fc.record({
      a: fc.uniqueArray(fc.string()),
      b: fc.uniqueArray(fc.string()),
      c: fc.uniqueArray(fc.string()),
    });
    fc.assert(
      fc.property(
        offers,
        offers,
        fc.constantFrom<Naming>('prefixed', 'transparent'),
        (first, second, naming) => {
          const as = (tools: typeof first): Record<string, Offer> =>
            Object.fromEntries(Object.entries(tools).map(([server, list]) => [server, { tools: list }]));
          let changed = catalogOf(as(first), naming);
          changed.list('tools');
          for (const [server, tools] of Object.entries(second))
            changed = withInventory(changed, server, inventory(server, { tools }));
          const fresh = catalogOf(as(second), naming);
          const ids = (catalog: Catalog): unknown[] =>
            catalog.list('tools').map((item) => [item.server, item.originalName]);
          expect(ids(changed)).toEqual(ids(fresh));
          for (const item of changed.list('tools')) expect(changed.tool(item.name)).toBe(item);
        },
      ),
    );
  });
});

describe('a list after many changes', () => {
  const SERVERS = ['a', 'b', 'c', 'd'];
  const server = fc.constantFrom(...SERVERS);
  const tools = fc.uniqueArray(fc.constantFrom('t', 'u', 'v', 'w'), { maxLength: 4 });
  const change = fc.oneof(
    fc.record({ kind: fc.constant('lists' as const), server, tools }),
    fc.record({ kind: fc.constant('stale' as const), server, tools }),
    fc.record({ kind: fc.constant('gone' as const), server, tools }),
    fc.record({ kind: fc.constant('last' as const), server, tools }),
  );

  it('is what it is when it is built from scratch, frozen, and the old ones stay as they were', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(change, fc.boolean()), { maxLength: 12 }), (changes) => {
        let catalog = createCatalog(SERVERS);
        const seen: Array<readonly [listed: unknown, copy: unknown]> = [];
        for (const [{ kind, server: of, tools: names }, look] of changes) {
          const known = catalog.inventory(of);
          if (kind === 'lists')
            catalog = withInventory(catalog, of, inventory(of, { tools: names, prompts: names }));
          else if (kind === 'gone') catalog = without(catalog, of);
          else if (kind === 'last')
            catalog = withOrder(catalog, [...catalog.order.filter((other) => other !== of), of]);
          else if (known !== undefined)
            catalog = withInventory(
              catalog,
              of,
              staleInventory(known, new TroupeError('unavailable', 'gone')),
            );
          if (!look) continue;
          for (const what of ['tools', 'prompts'] as const) {
            const listed = catalog.list(what);
            expect(listed).toEqual(catalog.order.flatMap((other) => catalog.listOf(other, what)));
            expect(Object.isFrozen(listed)).toBe(true);
            expect(catalog.list(what)).toBe(listed);
            seen.push([listed, structuredClone(listed)]);
          }
        }
        for (const [listed, copy] of seen) expect(listed).toEqual(copy);
      }),
    );
  });

  it('is the same array where something else has changed', () => {
    const before = withInventory(createCatalog(SERVERS), 'a', inventory('a', { tools: ['t'] }));
    const listed = before.list('tools');
    const known = before.inventory('a') as Inventory;
    const prompts = { ...known.prompts, items: [{ name: 'p' }] };
    expect(withInventory(before, 'a', { ...known, prompts }).list('tools')).toBe(listed);
  });

  it('is what the servers list now, whatever they change, send again or change in place', () => {
    interface Tool extends Record<string, unknown> {
      name: string;
      title?: string;
    }
    const title = fc.constantFrom(undefined, 'A', 'B');
    const step = fc.oneof(
      fc.record({ kind: fc.constant('sends' as const), server, tools, title, others: fc.boolean() }),
      fc.record({ kind: fc.constant('changes' as const), server, at: fc.nat(3), title }),
      fc.record({ kind: fc.constant('moves' as const), server }),
    );
    const make = (name: string, text: string | undefined): Tool => ({
      name,
      inputSchema: { type: 'object', properties: { x: { type: 'string' } } },
      ...(text === undefined ? {} : { title: text }),
    });
    fc.assert(
      fc.property(fc.array(fc.tuple(step, fc.boolean()), { maxLength: 16 }), (steps) => {
        let catalog = createCatalog(SERVERS);
        const held = new Map<string, Tool[]>();
        const list = (of: string): void => {
          const items = catalog.known(of, 'tools', (held.get(of) ?? []) as never);
          const known = catalog.inventory(of) ?? emptyInventory(of, 0);
          catalog = withInventory(catalog, of, { ...known, tools: { items, listedAt: 0 } });
        };
        for (const [one, look] of steps) {
          const of = one.server;
          if (one.kind === 'moves')
            catalog = withOrder(catalog, [...catalog.order.filter((other) => other !== of), of]);
          else {
            if (one.kind === 'sends') {
              // New objects, of which the first has another title; the rest says what it said.
              const before = new Map((held.get(of) ?? []).map((tool) => [tool.name, tool.title]));
              held.set(
                of,
                one.tools.map((name, i) => make(name, i === 0 || one.others ? one.title : before.get(name))),
              );
            } else {
              const tool = held.get(of)?.[one.at];
              if (tool !== undefined && one.title !== undefined) tool.title = one.title;
            }
            list(of);
          }
          if (!look) continue;
          const expected = catalog.order.flatMap((other) =>
            (held.get(other) ?? []).map((tool) => ({
              ...tool,
              name: `${other}__${tool.name}`,
              originalName: tool.name,
              server: other,
            })),
          );
          expect(catalog.list('tools')).toEqual(expected);
          expect(catalog.parts('tools').flatMap(({ items }) => items)).toEqual(expected);
        }
      }),
      { numRuns: 300 },
    );
  });
});

import { describe, expect, it } from '@jest/globals';
import { createCatalog, withInventory, type Catalog } from '../../lib/catalog/catalog.ts';
import { emptyInventory } from '../../lib/catalog/inventory.ts';
import { estimateTokens, searchTools } from '../../lib/catalog/search.ts';

const inputSchema = { type: 'object' };

function catalogOf(servers: Readonly<Record<string, Readonly<Record<string, string>>>>): Catalog {
  return Object.entries(servers).reduce(
    (catalog, [server, tools]) =>
      withInventory(catalog, server, {
        ...emptyInventory(server, 0),
        tools: {
          items: Object.entries(tools).map(([name, description]) => ({ name, description, inputSchema })),
          listedAt: 0,
        },
      }),
    createCatalog(Object.keys(servers)),
  );
}

const catalog = catalogOf({
  github: {
    create_issue: 'Create a new issue in a repository',
    listIssues: 'List the issues of a repository, by page',
    getHTTPStatus: 'Status of the service',
  },
  files: {
    read_file: 'Read one file',
    write_file: 'Write a file and create its folders',
    search: 'Find files by name',
  },
});
const found = (query: string, options?: Parameters<typeof searchTools>[2]): string[] =>
  searchTools(catalog, query, options).map(({ tool }) => tool.name);

describe('searchTools', () => {
  it.each([
    ['create issue', 'github__create_issue'],
    ['list issues', 'github__listIssues'],
    ['LISTISSUES list', 'github__listIssues'],
    ['http', 'github__getHTTPStatus'],
    ['reading a file: read', 'files__read_file'],
    ['write files', 'files__write_file'],
    ['github status', 'github__getHTTPStatus'],
    ['repo', 'github__create_issue'],
  ])('%s → %s', (query, first) => {
    expect(found(query)[0]).toBe(first);
  });

  it('gives nothing for what nobody has, and no more than asked for', () => {
    expect([
      found('zebra'),
      found(''),
      found('file', { limit: 0 }),
      searchTools(createCatalog([]), 'x'),
    ]).toEqual([[], [], [], []]);
    expect(found('file', { limit: 2 })).toHaveLength(2);
  });

  it('looks at one server, and at what is visible', () => {
    expect(found('create', { server: 'files' })).toEqual(['files__write_file']);
    expect(found('create', { server: 'nobody' })).toEqual([]);
    expect(found('create', { visible: (server) => server === 'files' })).toEqual(['files__write_file']);
  });

  it('scores a rare word above a common one, and falls with rank', () => {
    const hits = searchTools(catalog, 'file folders');
    expect(hits[0]?.tool.name).toBe('files__write_file');
    const scores = hits.map(({ score }) => score);
    expect(scores).toEqual(scores.toSorted((a, b) => b - a));
  });

  it('follows a changed list', () => {
    const next = withInventory(catalog, 'files', {
      ...emptyInventory('files', 0),
      tools: { items: [{ name: 'zebra', inputSchema }], listedAt: 1 },
    });
    expect(searchTools(next, 'zebra').map(({ tool }) => tool.name)).toEqual(['files__zebra']);
    expect(found('zebra')).toEqual([]);
  });

  it('takes hostile words for words', () => {
    const hostile = catalogOf({ s: { constructor: 'toString __proto__', big: 'x '.repeat(100_000) } });
    expect(searchTools(hostile, 'constructor').map(({ tool }) => tool.originalName)).toEqual(['constructor']);
    expect(searchTools(hostile, 'proto').map(({ tool }) => tool.originalName)).toEqual(['constructor']);
    expect(searchTools(hostile, 'hasOwnProperty')).toEqual([]);
  });
});

describe('estimateTokens', () => {
  it('is bytes through four', () => {
    expect(estimateTokens([])).toBe(0);
    expect(estimateTokens(['x'.repeat(397)])).toBe(100);
    expect(estimateTokens(['é'.repeat(100)])).toBe(51);
    expect(estimateTokens(catalog.list('tools'))).toBeGreaterThan(100);
  });

  it('takes what JSON cannot hold', () => {
    const loop: Record<string, unknown> = {};
    loop['loop'] = loop;
    expect(estimateTokens([loop, 1n, undefined])).toBeGreaterThan(0);
  });
});

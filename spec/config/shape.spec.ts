import { describe, expect, it } from '@jest/globals';
import { OBJECT_ORIGIN } from '../../lib/config/fields.ts';
import { findServers } from '../../lib/config/shape.ts';
import { refusal } from '../support/config-expectations.ts';

const x = { command: 'x' };
const file = { file: 'f.json', lineOf: () => 1 };
const found = (root: unknown, origin = file): (readonly [string, string])[] =>
  findServers(root, origin).entries.map((entry) => [entry.name, entry.path.join('/')] as const);

describe('findServers', () => {
  it.each([
    ['Claude Desktop, Cursor, Claude Code', { mcpServers: { a: x } }, [['a', 'mcpServers/a']]],
    ['VS Code mcp.json', { servers: { a: x }, inputs: [] }, [['a', 'servers/a']]],
    [
      'VS Code settings.json',
      { 'editor.x': 1, mcp: { servers: { a: x }, inputs: [] } },
      [['a', 'mcp/servers/a']],
    ],
    ['VS Code settings.json, dotted', { 'mcp.servers': { a: x } }, [['a', 'mcp.servers/a']]],
    ['opencode', { $schema: 's', model: 'm', mcp: { a: x } }, [['a', 'mcp/a']]],
    [
      'a bare map',
      { $schema: 's', a: x, b: x },
      [
        ['a', 'a'],
        ['b', 'b'],
      ],
    ],
    [
      'both roots',
      { servers: { a: x }, mcpServers: { b: x } },
      [
        ['a', 'servers/a'],
        ['b', 'mcpServers/b'],
      ],
    ],
    ['nothing yet', { mcpServers: {} }, []],
    ['a server called command', { servers: { command: x } }, [['command', 'servers/command']]],
    ['a bare map with a server called servers', { servers: x }, [['servers', 'servers']]],
    [
      'a bare map with a server called mcp',
      { mcp: x, a: x },
      [
        ['mcp', 'mcp'],
        ['a', 'a'],
      ],
    ],
  ])('reads %s', (_, root, entries) => {
    expect(found(root)).toEqual(entries);
  });

  it('takes options of the engine from our own files only', () => {
    expect(findServers({ servers: {}, naming: 'x' }, file).options).toBeDefined();
    expect(findServers({ mcp: { a: x }, naming: 'x' }, file).options).toBeUndefined();
    expect(findServers({ mcp: { servers: {} }, limits: 'x' }, file).options).toBeUndefined();
  });

  it('finds the inputs beside the servers', () => {
    expect(findServers({ mcp: { servers: {}, inputs: [1] } }, file).inputs).toEqual({
      value: [1],
      path: ['mcp', 'inputs'],
    });
    expect(findServers({ servers: {}, inputs: [2] }, file).inputs).toEqual({ value: [2], path: ['inputs'] });
    expect(findServers({ servers: {} }, file).inputs).toBeUndefined();
  });

  it.each([
    ['a list', [], /is a list/],
    ['a text', 'x', /is a string/],
    [
      'some other file',
      { name: 'package', version: '1' },
      /no servers are found; give mcpServers or servers/,
    ],
    ['an empty file', {}, /no servers are found/],
    ['a root that is no object', { mcpServers: 'x' }, /mcpServers is a string/],
    ['a name in two roots', { servers: { a: x }, mcpServers: { a: x } }, /a: is configured twice/],
  ])('refuses %s', (_, root, problem) => {
    expect(refusal(() => found(root)).message).toMatch(problem);
  });

  it('lets a program begin without servers', () => {
    expect(found({}, OBJECT_ORIGIN as typeof file)).toEqual([]);
  });
});

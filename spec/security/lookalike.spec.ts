import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createLookalikeWatch, skeletonOf } from '../../lib/security/lookalike.ts';

/** Servers first, then what each lists, as in an engine. */
const found = (servers: string[], tools: Array<[server: string, name: string]>): string[] => {
  const watch = createLookalikeWatch();
  const names = new Map<string, string[]>();
  for (const [server, name] of tools) names.set(server, [...(names.get(server) ?? []), name]);
  return [
    ...servers.flatMap((server) => watch.added(server)),
    ...[...names].flatMap(([server, listed]) => watch.listed(server, listed)),
  ].map(({ kind, reason }) => `${kind}: ${reason}`);
};

describe('what names that look alike have in common', () => {
  it.each([
    ['read_file', 'read-file'],
    ['read_file', 'ReadFile'],
    ['read_file', 'reаd_file'],
    ['read_file', 'read\u200b_file'],
    ['read_file', 'ｒｅａｄ_ｆｉｌｅ'],
    ['list', '1ist'],
    ['tool', 't00l'],
    ['modern', 'rnodern'],
    ['view', 'vievv'],
    ['cafe', 'café'],
    ['straße', 'STRASSE'],
  ])('%s and %s', (a, b) => {
    expect(skeletonOf(b)).toBe(skeletonOf(a));
  });

  it.each([
    ['read_file', 'read_files'],
    ['get', 'set'],
    ['mail', 'mall'],
  ])('not %s and %s', (a, b) => {
    expect(skeletonOf(b)).not.toBe(skeletonOf(a));
  });
});

describe('look-alikes', () => {
  it('are servers with nearly the same name', () => {
    expect(found(['github', 'gіthub'], [])).toEqual([
      'confusable: server "gіthub" looks like server "github"',
    ]);
  });

  it('are tools of different servers with nearly the same name', () => {
    expect(
      found(
        ['a', 'b'],
        [
          ['a', 'send_mail'],
          ['b', 'send-mail'],
          ['b', 'sеnd_mail'],
        ],
      ),
    ).toEqual([
      'confusable: "send-mail" of b looks like "send_mail" of a',
      'confusable: "sеnd_mail" of b looks like "send_mail" of a',
    ]);
  });

  it('are not equal names, nor names of one server', () => {
    expect(
      found(
        ['a', 'b'],
        [
          ['a', 'search'],
          ['b', 'search'],
          ['a', 'list_all'],
          ['a', 'listAll'],
        ],
      ),
    ).toEqual([]);
  });

  it('are names that begin with the name of another server', () => {
    expect(
      found(
        ['github', 'evil'],
        [
          ['github', 'create_issue'],
          ['evil', 'github__delete_repo'],
          ['evil', 'GitHub/x'],
          ['evil', 'githubCreateIssue'],
        ],
      ),
    ).toEqual([
      'prefix: "github__delete_repo" of evil reads as if it belonged to server "github"',
      'prefix: "GitHub/x" of evil reads as if it belonged to server "github"',
      'prefix: "githubCreateIssue" of evil reads as "create_issue" of github',
    ]);
    expect(found(['github'], [['github', 'github__own']])).toEqual([]);
  });

  it('are names with characters nobody sees, shown', () => {
    expect(found(['a'], [['a', 'ad\u200bd']])).toEqual([
      'hidden: "ad\\u{200b}d" of a holds characters that nobody sees',
    ]);
  });

  it('may come in any number and length', () => {
    const tools = Array.from({ length: 5000 }, (_, i): [string, string] => [`s${i % 50}`, `tool_${i}`]);
    expect(found([], tools)).toEqual([]);
    expect(found([], [['a', 'x'.repeat(1_000_000)]])).toEqual([]);
    expect(
      found(
        [],
        [
          ['a', '__proto__'],
          ['b', 'constructor'],
        ],
      ),
    ).toEqual([]);
  });

  it('are told once, whatever is listed again, and anew when they have been away', () => {
    const watch = createLookalikeWatch();
    watch.added('a');
    watch.added('b');
    watch.listed('a', ['send_mail']);
    const reasons = (names: string[]): string[] => watch.listed('b', names).map(({ reason }) => reason);
    expect(reasons(['sendMail', 'other'])).toEqual(['"sendMail" of b looks like "send_mail" of a']);
    expect(reasons(['sendMail', 'other', 'third'])).toEqual([]);
    expect(reasons(['send.mail'])).toEqual(['"send.mail" of b looks like "send_mail" of a']);
    watch.forget('a');
    expect(reasons(['SEND_MAIL'])).toEqual([]);
    watch.added('a');
    expect(watch.listed('a', ['send_mail'])).toMatchObject([
      { kind: 'confusable', suspect: { server: 'a', name: 'send_mail' } },
    ]);
  });

  it('are found whoever comes first', () => {
    const watch = createLookalikeWatch();
    watch.added('evil');
    watch.listed('evil', ['github__x', 'githubCreateIssue']);
    expect(watch.added('github').map(({ reason }) => reason)).toEqual([
      '"github__x" of evil reads as if it belonged to server "github"',
    ]);
    expect(watch.listed('github', ['create_issue']).map(({ reason }) => reason)).toEqual([
      '"githubCreateIssue" of evil reads as "create_issue" of github',
    ]);
  });

  it('are told a hundred times per server and no more', () => {
    const watch = createLookalikeWatch();
    watch.added('a');
    watch.added('b');
    watch.listed(
      'a',
      Array.from({ length: 500 }, (_, i) => `tool_${i}x`),
    );
    expect(
      watch.listed(
        'b',
        Array.from({ length: 500 }, (_, i) => `tool-${i}x`),
      ),
    ).toHaveLength(100);
  });

  it('the quick way for plain names says what the long way says', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'aAmrnvVwW01lLoO|_-./: 9~'.split('')) }), (name) => {
        // A combining mark that the long way drops sends the same name along it.
        expect(skeletonOf(name)).toBe(skeletonOf(`${name}\u0301`));
      }),
    );
  });

  it('finds who was first of another name among many of one, and the next when that one is gone', () => {
    const watch = createLookalikeWatch();
    for (const server of ['a', 'b', 'c', 'd', 'e']) watch.added(server);
    const told = (server: string, tools: string[]): string[] =>
      watch.listed(server, tools).map(({ reason }) => reason);
    for (const server of ['a', 'b', 'c']) expect(told(server, ['read_file'])).toEqual([]);
    expect(told('d', ['read-file'])).toEqual(['"read-file" of d looks like "read_file" of a']);
    watch.forget('a');
    expect(told('e', ['readFile'])).toEqual(['"readFile" of e looks like "read_file" of b']);
    // Its own names are nobody else's, and what it does not list any more is not resembled.
    expect(told('d', ['readFile'])).toEqual(['"readFile" of d looks like "read_file" of b']);
    for (const server of ['b', 'c']) watch.listed(server, []);
    expect(told('b', ['read_file'])).toEqual(['"read_file" of b looks like "readFile" of e']);
    expect(told('d', ['readFile', 'read-file'])).toEqual(['"read-file" of d looks like "readFile" of e']);
  });
});

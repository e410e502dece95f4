import { withoutHidden, revealHidden } from './invisible.ts';

/** A tool, or a server itself where `name` is absent. */
export interface Named {
  readonly server: string;
  readonly name?: string | undefined;
}

/**
 * `confusable`: looks like a name of another server without being equal. `prefix`: a tool whose name begins with the name of another
 * server, so that it reads as that one's. `hidden`: holds characters that nobody sees.
 */
export interface Lookalike {
  readonly kind: 'confusable' | 'prefix' | 'hidden';
  readonly suspect: Named;
  /** What it looks like; absent for `hidden`. */
  readonly resembles?: Named;
  /** One sentence for a person, hidden characters shown. */
  readonly reason: string;
}

/** Letters of other scripts and digits that are drawn like Latin letters (a small part of Unicode TR39). */
const CONFUSABLE: ReadonlyMap<string, string> = new Map(
  [
    ['a', 'аαаɑ'],
    ['b', 'ьЬβ'],
    ['c', 'сϲⅽ'],
    ['d', 'ԁⅾ'],
    ['e', 'еєεҽ'],
    ['g', 'ɡց'],
    ['h', 'һհ'],
    ['i', 'іιıɩ'],
    ['j', 'јϳ'],
    ['k', 'κк'],
    ['l', '1ӏ|ⅼǀ'],
    ['m', 'мⅿ'],
    ['n', 'ոη'],
    ['o', '0оοօσ'],
    ['p', 'рρ'],
    ['q', 'ԛգ'],
    ['r', 'гᴦ'],
    ['s', 'ѕ'],
    ['t', 'тτ'],
    ['u', 'υսʋ'],
    ['v', 'νѵⅴ'],
    ['w', 'ѡԝωա'],
    ['x', 'хχⅹ'],
    ['y', 'уүγ'],
    ['z', 'ᴢ'],
  ].flatMap(([latin, others]) => Array.from(others!).map((other) => [other, latin!] as const)),
);
/** Pairs that are drawn like one letter. */
const PAIRS: ReadonlyArray<readonly [string, string]> = [
  ['rn', 'm'],
  ['vv', 'w'],
];
const MAX_NAME = 256;

/**
 * What names that are drawn alike have in common: NFKC, hidden characters and accents dropped, case folded, look-alike
 * letters made Latin, separators dropped. To compare, never to show.
 */
export function skeletonOf(name: string): string {
  const folded = withoutHidden(name.slice(0, MAX_NAME))
    .normalize('NFKC')
    .toUpperCase()
    .toLowerCase()
    .normalize('NFKD');
  let skeleton = '';
  for (const character of folded) {
    if (/[\p{M}\s_\-./:]/u.test(character)) continue;
    skeleton += CONFUSABLE.get(character) ?? character;
  }
  for (const [pair, letter] of PAIRS) skeleton = skeleton.replaceAll(pair, letter);
  return skeleton;
}

/**
 * Names that could be taken for another server's. The first of its kind is the one that is resembled: give what was
 * there before first. Equal names are no matter of looks, and the catalog keeps them apart. Linear in the number of names.
 */
export function findLookalikes(
  servers: readonly string[],
  tools: ReadonlyArray<Required<Named>>,
): readonly Lookalike[] {
  return [
    ...alike(servers.map((server) => ({ server }))),
    ...alike(tools),
    ...prefixed(servers, tools),
    ...hiding([...servers.map((server) => ({ server })), ...tools]),
  ];
}

function alike(names: readonly Named[]): Lookalike[] {
  const first = new Map<string, Named>();
  const found: Lookalike[] = [];
  for (const suspect of names) {
    const skeleton = skeletonOf(suspect.name ?? suspect.server);
    const resembles = first.get(skeleton);
    if (resembles === undefined) {
      first.set(skeleton, suspect);
    } else if (resembles.server !== suspect.server && spelled(resembles) !== spelled(suspect)) {
      found.push({
        kind: 'confusable',
        suspect,
        resembles,
        reason: `${shown(suspect)} looks like ${shown(resembles)}`,
      });
    }
  }
  return found;
}

/** `github__create_issue` on another server than github, and `githubcreateissue` where github has a `create_issue`. */
function prefixed(servers: readonly string[], tools: ReadonlyArray<Required<Named>>): Lookalike[] {
  const owners = new Map(servers.map((server) => [skeletonOf(server), server]));
  const exposed = new Map(
    tools.map((tool) => [`${skeletonOf(tool.server)}${skeletonOf(tool.name ?? '')}`, tool] as const),
  );
  const found: Lookalike[] = [];
  for (const suspect of tools) {
    const name = suspect.name ?? '';
    const split = name.search(/__|[/:.]/);
    const owner = split <= 0 ? undefined : owners.get(skeletonOf(name.slice(0, split)));
    const whole = exposed.get(skeletonOf(name));
    if (owner !== undefined && owner !== suspect.server) {
      const reason = `${shown(suspect)} reads as if it belonged to server "${revealHidden(owner)}"`;
      found.push({ kind: 'prefix', suspect, resembles: { server: owner }, reason });
    } else if (whole !== undefined && whole.server !== suspect.server) {
      found.push({
        kind: 'prefix',
        suspect,
        resembles: whole,
        reason: `${shown(suspect)} reads as ${shown(whole)}`,
      });
    }
  }
  return found;
}

function hiding(names: readonly Named[]): Lookalike[] {
  return names
    .filter((named) => withoutHidden(spelled(named)) !== spelled(named))
    .map((suspect) => ({
      kind: 'hidden',
      suspect,
      reason: `${shown(suspect)} holds characters that nobody sees`,
    }));
}

function spelled({ server, name }: Named): string {
  return name ?? server;
}

function shown({ server, name }: Named): string {
  return name === undefined
    ? `server "${revealHidden(server)}"`
    : `"${revealHidden(name)}" of ${revealHidden(server)}`;
}

import { describe, expect, it, jest } from '@jest/globals';
import fc from 'fast-check';
import { createNameRegistry, type NameRegistry, type NameReport } from '../../lib/catalog/name-registry.ts';
import { fitsModels, foldName } from '../../lib/catalog/name-text.ts';
import type { Naming } from '../../lib/catalog/naming.ts';

/** Claims one after the other; the registry after all of them, and every report. */
function claimed(
  claims: readonly (readonly [server: string, ...names: string[]])[],
  naming: Naming = 'prefixed',
  servers: readonly string[] = claims.map(([server]) => server),
): { registry: NameRegistry; reports: NameReport[] } {
  let registry = createNameRegistry({ naming, servers });
  const reports: NameReport[] = [];
  for (const [server, ...names] of claims) {
    const change = registry.claim('tools', server, names);
    registry = change.registry;
    reports.push(...change.reports);
  }
  return { registry, reports };
}

const keptName = (registry: NameRegistry, server: string, name: string): string | undefined =>
  registry.holder('tools', server, name)?.name;

const shown = (registry: NameRegistry, server: string, name: string): string | undefined => {
  const holder = registry.holder('tools', server, name);
  return holder && registry.exposed('tools', holder);
};

const found = (registry: NameRegistry, name: string): string => {
  const match = registry.find('tools', name);
  if (match.is === 'found') return `${match.holder.server}/${match.holder.originalName}`;
  return match.is === 'ambiguous' ? match.holders.map((h) => h.server).join('|') : match.is;
};

describe('kept names', () => {
  it('where a__b + c and a + b__c meet, the later one gets the hash', () => {
    const { registry, reports } = claimed([
      ['a__b', 'c'],
      ['a', 'b__c'],
    ]);
    expect(keptName(registry, 'a__b', 'c')).toBe('a__b__c');
    expect(keptName(registry, 'a', 'b__c')).toMatch(/^a__b__c_[0-9a-f]{12}$/);
    expect(reports).toEqual([
      expect.objectContaining({
        server: 'a',
        servers: ['a__b', 'a'],
        reason: expect.stringContaining('is held by'),
      }),
    ]);
    const other = claimed([
      ['a', 'b__c'],
      ['a__b', 'c'],
    ]).registry;
    expect(keptName(other, 'a', 'b__c')).toBe('a__b__c');
    expect(found(other, 'a__b__c')).toBe('a/b__c');
  });

  it('a look-alike gets the hash and is reported', () => {
    const { registry, reports } = claimed([['s', 'read', 'READ']]);
    expect(keptName(registry, 's', 'READ')).toMatch(/^s__READ_[0-9a-f]{12}$/);
    expect(reports[0]?.reason).toContain('looks like "s__read"');
    expect(found(registry, 's__read')).toBe('s/read');
    expect(found(registry, 's__READ')).toBe('unknown');
  });

  it('wait for what comes back, and are free once the server is gone for good', () => {
    let { registry } = claimed([['a__b', 'c']], 'prefixed', ['a__b', 'a']);
    registry = registry.claim('tools', 'a__b', []).registry;
    registry = registry.claim('tools', 'a', ['b__c']).registry;
    expect(keptName(registry, 'a', 'b__c')).toMatch(/_[0-9a-f]{12}$/);
    expect(found(registry, 'a__b__c')).toBe('kept');
    registry = registry.claim('tools', 'a__b', ['c']).registry;
    expect(found(registry, 'a__b__c')).toBe('a__b/c');

    registry = registry.release('a__b').registry.claim('tools', 'a', []).registry;
    registry = registry.claim('tools', 'a', ['b__c', 'x']).registry;
    expect(keptName(registry, 'a', 'b__c')).toMatch(/_[0-9a-f]{12}$/);
    registry = registry.release('a').registry.claim('tools', 'a', ['b__c']).registry;
    expect(keptName(registry, 'a', 'b__c')).toBe('a__b__c');
  });

  it('of things that do not come back are forgotten at last, oldest first', () => {
    let registry = createNameRegistry({ naming: 'prefixed' });
    registry = registry.claim(
      'tools',
      's',
      Array.from({ length: 9_999 }, (_, i) => `old${i}`),
    ).registry;
    registry = registry.claim('tools', 's', ['a', 'b']).registry;
    expect(keptName(registry, 's', 'old0')).toBe('s__old0');
    registry = registry.claim('tools', 's', ['c']).registry;
    expect([keptName(registry, 's', 'old0'), keptName(registry, 's', 'old1')]).toEqual([
      undefined,
      's__old1',
    ]);
    expect(found(registry, 's__old0')).toBe('unknown');
  });

  it('ask a naming function once for each holder, and keep its answer', () => {
    let n = 0;
    const naming = jest.fn((_server: string, name: string) => `${name}-${(n += 1)}`);
    let { registry } = claimed([['s', 'x', 'y']], naming);
    registry = registry.claim('tools', 's', ['y']).registry.claim('tools', 's', ['y', 'x']).registry;
    expect([keptName(registry, 's', 'x'), keptName(registry, 's', 'y')]).toEqual(['x-1', 'y-2']);
    expect(naming).toHaveBeenCalledTimes(2);
  });

  it('tell apart what a naming function calls the same', () => {
    const { registry, reports } = claimed(
      [
        ['a', 'x', 'y'],
        ['b', 'x'],
      ],
      () => 'same',
    );
    const names = [keptName(registry, 'a', 'x'), keptName(registry, 'a', 'y'), keptName(registry, 'b', 'x')];
    expect(names[0]).toBe('same');
    expect(names.slice(1).every((name) => /^same_[0-9a-f]{12}$/.test(name ?? ''))).toBe(true);
    expect(new Set(names).size).toBe(3);
    expect(reports).toHaveLength(2);
  });

  it('are of one kind: a prompt may be called as a tool is', () => {
    const { registry } = claimed([['s', 'x']]);
    const next = registry.claim('prompts', 's', ['x']).registry;
    expect(next.holder('prompts', 's', 'x')?.name).toBe('s__x');
    expect(next.find('prompts', 's__x').is).toBe('found');
  });

  it('are not lost to who guesses the hash', () => {
    const first = claimed([['s', 'a.b']]).registry;
    const taken = keptName(first, 's', 'a.b')?.slice('s__'.length) ?? '';
    const { registry } = claimed([['s', taken, 'a.b']]);
    expect(keptName(registry, 's', taken)).toBe(`s__${taken}`);
    expect(keptName(registry, 's', 'a.b')).toMatch(/^s__a_b_[0-9a-f]{12}$/);
    expect(keptName(registry, 's', 'a.b')).not.toBe(`s__${taken}`);
  });
});

describe('bare names', () => {
  it('are accepted where one server only has them', () => {
    const { registry } = claimed([
      ['a', 'read', 'both'],
      ['b', 'both'],
    ]);
    expect([found(registry, 'read'), found(registry, 'both'), found(registry, 'none')]).toEqual([
      'a/read',
      'a|b',
      'unknown',
    ]);
  });

  it('that look alike on two servers are ambiguous, on one they are not', () => {
    const two = claimed([
      ['a', 'read'],
      ['b', 'Read'],
    ]).registry;
    expect(found(two, 'read')).toBe('a|b');
    const one = claimed([['a', 'read', 'Read']]).registry;
    expect([found(one, 'read'), found(one, 'Read')]).toEqual(['a/read', 'a/Read']);
  });

  it('with the prefix of another declared server are nobody’s', () => {
    const claims = [['evil', 'github__push', 'ＧitHub__push', 'other__push']] as const;
    const { registry } = claimed(claims, 'prefixed', ['evil', 'github']);
    expect([
      found(registry, 'github__push'),
      found(registry, 'ＧitHub__push'),
      found(registry, 'other__push'),
    ]).toEqual(['unknown', 'unknown', 'evil/other__push']);
    expect(found(registry, 'evil__github__push')).toBe('evil/github__push');
  });

  it('never stand in for a name that was given to another', () => {
    let { registry } = claimed([['a', 'x']], (_, name) => `my-${name}`, ['a', 'b']);
    registry = registry.claim('tools', 'b', ['my-x']).registry;
    expect(found(registry, 'my-x')).toBe('a/x');
    registry = registry.claim('tools', 'a', []).registry;
    expect(found(registry, 'my-x')).toBe('kept');
  });

  it('look only at what is admitted', () => {
    const { registry } = claimed([
      ['a', 'x'],
      ['b', 'x'],
    ]);
    const match = registry.find('tools', 'x', ({ server }) => server === 'b');
    expect(match).toEqual({ is: 'found', holder: { server: 'b', originalName: 'x', name: 'b__x' } });
    expect(registry.find('tools', 'a__x', ({ server }) => server === 'b').is).toBe('kept');
  });
});

describe('transparent', () => {
  it('shows original names, and with the server in front where two have one', () => {
    const { registry, reports } = claimed(
      [
        ['a', 'read', 'both'],
        ['b', 'both'],
      ],
      'transparent',
    );
    expect([
      shown(registry, 'a', 'read'),
      shown(registry, 'a', 'both'),
      shown(registry, 'b', 'both'),
    ]).toEqual(['read', 'a__both', 'b__both']);
    expect([found(registry, 'read'), found(registry, 'both'), found(registry, 'b__both')]).toEqual([
      'a/read',
      'a|b',
      'b/both',
    ]);
    expect(reports).toEqual([expect.objectContaining({ servers: ['a', 'b'], originalName: 'both' })]);
  });

  it('says whose names are shown differently now', () => {
    const { registry } = claimed([['a', 'x', 'y']], 'transparent', ['a', 'b']);
    const second = registry.claim('tools', 'b', ['x']);
    expect([...second.touched]).toEqual(['a']);
    const third = second.registry.claim('tools', 'c', ['x']);
    expect([...third.touched]).toEqual([]);
    const back = second.registry.release('b');
    expect([...back.touched]).toEqual(['a']);
    expect(shown(back.registry, 'a', 'x')).toBe('x');
  });

  it('does not show a bare name that is another’s name with the server in front', () => {
    const { registry } = claimed(
      [
        ['c', 'a__x'],
        ['a', 'x'],
        ['b', 'x'],
      ],
      'transparent',
    );
    expect([shown(registry, 'c', 'a__x'), shown(registry, 'a', 'x'), shown(registry, 'b', 'x')]).toEqual([
      'c__a__x',
      'a__x',
      'b__x',
    ]);
    expect(found(registry, 'a__x')).toBe('a/x');
  });

  it('says that names change when a server is declared whose prefix they have', () => {
    const { registry } = claimed([['evil', 'github__push']], 'transparent', ['evil']);
    expect(shown(registry, 'evil', 'github__push')).toBe('github__push');
    const change = registry.declare(['evil', 'github']);
    expect(change.touched.has('evil')).toBe(true);
    expect(shown(change.registry, 'evil', 'github__push')).toBe('evil__github__push');
    expect([...change.registry.declare(['github', 'evil']).touched]).toEqual([]);
  });
});

/** Names that meet in every way: separators, cases, compatibility forms, reserved words, what does not fit. */
const word = fc.oneof(
  fc.constantFrom(
    'a',
    'b',
    'A',
    'ａ',
    'a__b',
    'b__c',
    'c',
    'x.y',
    'x y',
    '__proto__',
    'constructor',
    '',
    'ß',
    'SS',
    '🙂',
    '\u202e',
  ),
  fc.string({ unit: 'binary', maxLength: 70 }),
);
const server = fc.constantFrom('a', 'a__b', 'A', 'b', '__proto__', 'my server', 'my_server', 's'.repeat(70));
const claims = fc.array(fc.tuple(server, fc.uniqueArray(word, { maxLength: 6 })), { maxLength: 8 });
const naming = fc.constantFrom<Naming>('prefixed', 'transparent', (_s, name) => name.slice(0, 3));

describe('whatever servers list, in whatever order', () => {
  /** Everything listed at the end: the last claim of each server. */
  const run = (
    how: Naming,
    steps: readonly (readonly [string, readonly string[]])[],
  ): { registry: NameRegistry; listed: Map<string, readonly string[]>; history: NameRegistry[] } => {
    let registry = createNameRegistry({ naming: how, servers: ['a', 'b'] });
    const listed = new Map<string, readonly string[]>();
    const history: NameRegistry[] = [registry];
    for (const [name, names] of steps) {
      registry = registry.claim('tools', name, names).registry;
      listed.set(name, names);
      history.push(registry);
    }
    return { registry, listed, history };
  };

  it('shown names fit, are one to one, and do not even look alike; each is found by its name', () => {
    fc.assert(
      fc.property(naming, claims, (how, steps) => {
        const { registry, listed } = run(how, steps);
        const seen = new Set<string>();
        const wrong: unknown[] = [];
        for (const [name, names] of listed) {
          for (const original of names) {
            const exposed = shown(registry, name, original) ?? '';
            const folded = foldName(exposed);
            const match = registry.find('tools', exposed);
            const isFound = match.is === 'found' && match.holder === registry.holder('tools', name, original);
            if (!fitsModels(exposed) || seen.has(folded) || !isFound)
              wrong.push({ name, original, exposed, match });
            seen.add(folded);
          }
        }
        expect(wrong).toEqual([]);
      }),
    );
  });

  it('a holder keeps its name whatever comes later, and nobody else ever has it', () => {
    fc.assert(
      fc.property(naming, claims, (how, steps) => {
        const { history } = run(how, steps);
        const given = new Map<string, string>();
        const changed: unknown[] = [];
        for (const [i, registry] of history.entries()) {
          for (const [name, names] of steps.slice(0, i)) {
            for (const original of names) {
              const key = JSON.stringify([name, original]);
              const kept = keptName(registry, name, original) ?? '';
              if ((given.get(key) ?? kept) !== kept) changed.push({ key, kept, before: given.get(key) });
              given.set(key, kept);
            }
          }
        }
        expect(changed).toEqual([]);
        expect(new Set([...given.values()].map(foldName)).size).toBe(given.size);
      }),
    );
  });

  it('the order in which others arrive does not change who is there already', () => {
    const shuffled = claims.chain((steps) =>
      fc.tuple(fc.constant(steps), fc.shuffledSubarray(steps, { minLength: steps.length })),
    );
    fc.assert(
      fc.property(naming, fc.uniqueArray(word, { maxLength: 6 }), shuffled, (how, first, [one, other]) => {
        // The server that meets most others by its prefix.
        const there = ['a__b', first] as const;
        const others = (steps: typeof one): typeof one => steps.filter(([name]) => name !== 'a__b');
        const a = run(how, [there, ...others(one)]).registry;
        const b = run(how, [there, ...others(other)]).registry;
        for (const name of first)
          expect(keptName(a, 'here first', name)).toBe(keptName(b, 'here first', name));
      }),
    );
  });

  it('with `transparent`, what is ambiguous does not depend on who came first', () => {
    const some = fc.uniqueArray(fc.tuple(server, fc.uniqueArray(word, { maxLength: 6 })), {
      selector: ([name]) => name,
    });
    const both = some.chain((steps) =>
      fc.tuple(fc.constant(steps), fc.shuffledSubarray(steps, { minLength: steps.length })),
    );
    fc.assert(
      fc.property(both, ([one, other]) => {
        const a = run('transparent', one).registry;
        const b = run('transparent', other).registry;
        // Kept names that are equal to bare ones go by who came first, as the contract says of a__b + c and a + b__c.
        const names = one.flatMap(([, listed]) => listed).filter((name) => !name.includes('__'));
        const verdicts = (registry: NameRegistry): unknown[] =>
          names.map((name) => registry.find('tools', name).is);
        expect(verdicts(a)).toEqual(verdicts(b));
      }),
    );
  });
});

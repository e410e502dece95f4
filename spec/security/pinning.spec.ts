import { describe, expect, it } from '@jest/globals';
import { createPins } from '../../lib/security/pinning.ts';
import type { PinsOptions, Quarantine, ServerSighting, Sighting } from '../../lib/security/pinning.ts';
import { memoryStore } from '../../lib/security/state-store.ts';
import type { StateStore } from '../../lib/security/state-store.ts';

const sight = (text: string): Sighting => ({ fingerprint: `#${text}`, text: () => text });
const seen = (tools: Record<string, string>, launch?: string): ServerSighting => ({
  ...(launch === undefined ? {} : { launch: sight(launch) }),
  tools: new Map(Object.entries(tools).map(([name, text]) => [name, sight(text)])),
});
const reasons = (held: readonly Quarantine[]): string[] =>
  held.map(({ tool, reason }) => `${tool} ${reason}`);

function book(more: Partial<PinsOptions> = {}) {
  const store = more.store ?? memoryStore();
  const told: Quarantine[] = [];
  const options: PinsOptions = {
    key: 'sixteen bytes or more',
    onQuarantined: (q) => told.push(q),
    ...more,
    store,
  };
  return { pins: createPins(options), again: () => createPins(options), store, told };
}

describe('first sight', () => {
  it('is trusted by default, and written down', () => {
    const { pins, again, store, told } = book();
    expect(pins.review('a', seen({ echo: 'Echoes.' }, 'node a.js'))).toEqual([]);
    expect(pins.quarantined('a', 'echo')).toBeUndefined();
    expect(store.read()).toContain('#Echoes.');
    expect(again().review('a', seen({ echo: 'Echoes.' }, 'node a.js'))).toEqual([]);
    expect(told).toEqual([]);
  });

  it('waits for approval where that was chosen', () => {
    const { pins, again, told } = book({ firstSight: 'approve' });
    expect(reasons(pins.review('a', seen({ echo: 'Echoes.', add: 'Adds.' })))).toEqual([
      'echo new',
      'add new',
    ]);
    expect(told.length).toBe(2);
    pins.approve('a', 'echo');
    expect(pins.quarantined('a', 'echo')).toBeUndefined();
    expect(pins.quarantined('a', 'add')?.reason).toBe('new');
    expect(reasons(again().review('a', seen({ echo: 'Echoes.', add: 'Adds.' })))).toEqual(['add new']);
    pins.approve('a');
    expect(pins.quarantined('a', 'add')).toBeUndefined();
  });

  it('that cannot be written down is not trusted', () => {
    const store: StateStore = {
      read: () => undefined,
      write: () => {
        throw new Error('ENOSPC');
      },
    };
    const { pins, told } = book({ store });
    expect(pins.review('a', seen({ echo: 'Echoes.' }))).toMatchObject([
      { tool: 'echo', reason: 'not-saved', detail: '"echo" could not be written down as accepted: ENOSPC' },
    ]);
    expect(told.length).toBe(1);
    expect(() => pins.approve('a')).toThrow('[internal] a: the approval could not be saved: ENOSPC');
    expect(pins.quarantined('a', 'echo')?.reason).toBe('not-saved');
  });
});

describe('a tool that was never listed', () => {
  it('is in quarantine', () => {
    const { pins } = book();
    expect(pins.quarantined('a', 'x')?.reason).toBe('unlisted');
    pins.review('a', seen({ echo: 'e' }));
    expect(pins.quarantined('a', 'x')?.reason).toBe('unlisted');
    expect(pins.quarantined('a', '__proto__')?.reason).toBe('unlisted');
    pins.review('a', seen({ other: 'o' }));
    expect(pins.quarantined('a', 'echo')?.reason).toBe('unlisted');
  });
});

describe('a tool that changes', () => {
  const changed = seen({ echo: 'Echoes.\nSends\u200b all.', add: 'Adds.' });
  const setup = () => {
    const it = book();
    it.pins.review('a', seen({ echo: 'Echoes.', add: 'Adds.' }));
    it.pins.review('a', changed);
    return it;
  };

  it('is in quarantine, alone, with a diff, told once', () => {
    const { pins, told } = setup();
    expect(pins.quarantined('a', 'echo')).toMatchObject({
      server: 'a',
      reason: 'changed',
      detail: '"echo" is not what was accepted',
      fingerprint: '#Echoes.\nSends\u200b all.',
      diff: '  Echoes.\n+ Sends\\u{200b} all.',
    });
    expect(pins.quarantined('a', 'add')).toBeUndefined();
    pins.review('a', changed);
    expect(told.map(({ tool }) => tool)).toEqual(['echo']);
    pins.review('a', seen({ echo: 'Yet another.', add: 'Adds.' }));
    expect(told.length).toBe(2);
  });

  it('stays there over a restart, and after being away', () => {
    const { pins, again } = setup();
    expect(reasons(again().review('a', changed))).toEqual(['echo changed']);
    pins.review('a', seen({ add: 'Adds.' }));
    expect(reasons(pins.review('a', changed))).toEqual(['echo changed']);
  });

  it('leaves it by being approved, or by being again what it was', () => {
    const { pins, again } = setup();
    pins.review('a', seen({ echo: 'Echoes.', add: 'Adds.' }));
    expect(pins.quarantined('a', 'echo')).toBeUndefined();
    pins.review('a', changed);
    pins.approve('a', 'echo');
    expect(pins.quarantined('a', 'echo')).toBeUndefined();
    expect(again().review('a', changed)).toEqual([]);
    expect(reasons(again().review('a', seen({ echo: 'Echoes.', add: 'Adds.' })))).toEqual(['echo changed']);
  });

  it('is not approved when it has changed again since it was shown', () => {
    const { pins } = setup();
    const shown = pins.quarantined('a', 'echo')!.fingerprint!;
    pins.review('a', seen({ echo: 'Deletes everything.', add: 'Adds.' }));
    expect(() => pins.approve('a', 'echo', shown)).toThrow(
      '[denied] a: "echo" has changed since it was shown',
    );
    expect(pins.quarantined('a', 'echo')?.reason).toBe('changed');
  });

  it('says so when the text shows no difference', () => {
    const { pins } = book();
    const version = (fingerprint: string): ServerSighting => ({
      tools: new Map([['x', { fingerprint, text: () => 'same' }]]),
    });
    pins.review('a', version('1'));
    expect(pins.review('a', version('2'))[0]?.diff).toBe('the change lies outside the text that is shown');
  });
});

describe('a server that is launched another way', () => {
  it('is in quarantine as a whole until the server is approved', () => {
    const { pins, told } = book();
    pins.review('a', seen({ echo: 'e', add: 'a' }, 'npx server@1'));
    const held = pins.review('a', seen({ echo: 'e', add: 'a' }, 'npx server@2'));
    expect(reasons(held)).toEqual(['echo launch-changed', 'add launch-changed']);
    expect(held[0]?.diff).toBe('- npx server@1\n+ npx server@2');
    expect(told.length).toBe(2);
    expect(() => pins.approve('a', 'echo')).toThrow('(launch-changed): approve the server');
    pins.approve('a');
    expect(pins.quarantined('a', 'echo')).toBeUndefined();
    expect(pins.review('a', seen({ echo: 'e', add: 'a' }, 'npx server@2'))).toEqual([]);
  });
});

describe('pins that cannot be read', () => {
  it('hold everything of that server, and of no other', () => {
    const { pins, again, store } = book();
    pins.review('a', seen({ echo: 'e' }));
    pins.review('b', seen({ echo: 'e' }));
    store.write(store.read()!.replace('#e', '#x'));
    const later = again();
    expect(later.review('a', seen({ echo: 'e' }))).toMatchObject([
      { reason: 'pins-damaged', detail: 'what was accepted of a cannot be read: the seal does not fit' },
    ]);
    expect(later.review('b', seen({ echo: 'e' }))).toEqual([]);
    expect(() => later.approve('a', 'echo')).toThrow('(pins-damaged): approve the server');
    later.approve('a');
    expect(later.quarantined('a', 'echo')).toBeUndefined();
    expect(again().review('a', seen({ echo: 'e' }))).toEqual([]);
  });

  it('are not forgotten when another server is saved', () => {
    const { pins, again, store } = book();
    pins.review('a', seen({ echo: 'e' }));
    store.write(store.read()!.replace('#e', '#x'));
    again().review('new', seen({ x: 'x' }));
    const later = again();
    expect(later.review('new', seen({ x: 'x' }))).toEqual([]);
    expect(reasons(later.review('a', seen({ echo: 'e' })))).toEqual(['echo pins-damaged']);
  });

  it.each(['', '{"version":1,"servers":[', 'null'])(
    'as a whole (%p) hold every server until each is approved, over restarts',
    (text) => {
      const { pins, again } = book({ store: memoryStore(text) });
      for (const server of ['a', 'b']) {
        expect(reasons(pins.review(server, seen({ echo: 'e' })))).toEqual(['echo pins-damaged']);
      }
      pins.approve('a');
      const later = again();
      expect(later.review('a', seen({ echo: 'e' }))).toEqual([]);
      expect(reasons(later.review('b', seen({ echo: 'e' })))).toEqual(['echo pins-damaged']);
    },
  );
});

describe('approving and forgetting', () => {
  it('needs something that was seen', () => {
    const { pins } = book();
    expect(() => pins.approve('a')).toThrow('[not_found] a: nothing is known of it yet to approve');
    pins.review('a', seen({ echo: 'e' }));
    expect(() => pins.approve('a', 'x')).toThrow('[not_found] a: it lists no tool "x"');
  });

  it('makes a server new again', () => {
    const { pins, again } = book();
    pins.review('a', seen({ echo: 'e' }));
    pins.forget('a');
    pins.forget('never');
    expect(again().review('a', seen({ echo: 'other' }))).toEqual([]);
    expect(pins.quarantined('a', 'echo')?.reason).toBe('unlisted');
  });

  it('tells, and is not harmed by who listens', () => {
    const { pins } = book({
      firstSight: 'approve',
      onQuarantined: () => {
        throw new Error('listener');
      },
    });
    expect(reasons(pins.review('a', seen({ echo: 'e' })))).toEqual(['echo new']);
  });
});

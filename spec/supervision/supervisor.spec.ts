import { describe, expect, it } from '@jest/globals';
import { Supervisor, type Member } from '../../lib/supervision/supervisor.ts';

interface Fake extends Member {
  readonly name: number;
}

function scene(count: number, { lazy = NaN, msPerStart = 4 } = {}) {
  let now = 0;
  const woken: number[] = [];
  let turns = 0;
  /** In which turn of the event loop each was woken. */
  const turnOf: number[] = [];
  let members: Fake[] = Array.from({ length: count }, (_, name) => ({
    name,
    config: { lazy: name === lazy },
    replicas: [],
    wake: () => {
      woken.push(name);
      turnOf.push(turns);
      now += msPerStart;
    },
    stop: () => Promise.resolve(),
  }));
  const supervisor = new Supervisor({
    clock: { now: () => now },
    members: () => members,
    onStopped: () => {},
  });
  const tick = (): void => {
    turns += 1;
    timer = setImmediate(tick);
  };
  let timer = setImmediate(tick);
  return {
    supervisor,
    woken,
    turnOf,
    remove: (name: number) => void (members = members.filter((member) => member.name !== name)),
    end: () => clearImmediate(timer),
  };
}

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

describe('starting', () => {
  it('begins with all that are not lazy, in their order, and gives others their turn in between', async () => {
    const { supervisor, woken, turnOf, end } = scene(9, { lazy: 4 });
    await supervisor.start();
    end();
    expect(woken).toEqual([0, 1, 2, 3, 5, 6, 7, 8]);
    // Eight milliseconds of starting in a turn.
    for (const of of new Set(turnOf)) expect(turnOf.filter((one) => one === of)).toHaveLength(2);
    expect(supervisor.running).toBe(true);
  });

  it('begins with the first ones at once', async () => {
    const { supervisor, woken, end } = scene(3, { msPerStart: 1 });
    const started = supervisor.start();
    expect(woken).toEqual([0, 1, 2]);
    await started;
    end();
  });

  it('leaves out what was removed meanwhile, and everything after a stop', async () => {
    const { supervisor, woken, remove, end } = scene(20);
    void supervisor.start();
    expect(woken).toEqual([0, 1]);
    remove(3);
    await turn();
    await turn();
    await supervisor.stop(0);
    const before = [...woken];
    expect(before.slice(0, 3)).toEqual([0, 1, 2]);
    expect(before).not.toContain(3);
    expect(before.length).toBeLessThan(10);
    await turn();
    await turn();
    end();
    expect(woken).toEqual(before);
  });
});

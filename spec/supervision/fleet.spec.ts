import { describe, expect, it } from '@jest/globals';
import { createFleetStream, fleetSnapshot, type FleetSnapshot } from '../../lib/supervision/fleet.ts';

describe('the stream of the fleet', () => {
  it('gives what is now, then every change, and takes no snapshot while nobody listens', () => {
    let taken = 0;
    const stream = createFleetStream(() => {
      taken += 1;
      return fleetSnapshot(taken, []);
    });
    for (let i = 0; i < 1_000; i += 1) stream.changed();
    expect(taken).toBe(0);

    const seen: FleetSnapshot[] = [];
    const subscription = stream.changes.subscribe((snapshot) => seen.push(snapshot));
    stream.changed();
    stream.changed();
    expect(seen.map(({ at }) => at)).toEqual([1, 2, 3]);
    subscription.unsubscribe();
    stream.changed();
    expect(taken).toBe(3);
  });

  it('takes one snapshot a change, however many listen, and ends for all of them', () => {
    let taken = 0;
    const stream = createFleetStream(() => fleetSnapshot((taken += 1), []));
    const ends: string[] = [];
    stream.changes.subscribe({ complete: () => ends.push('a') });
    stream.changes.subscribe({ complete: () => ends.push('b') });
    stream.changed();
    expect(taken).toBe(3);
    stream.complete();
    stream.changed();
    const late: unknown[] = [];
    stream.changes.subscribe({ next: (value) => late.push(value), complete: () => ends.push('late') });
    expect([taken, ends, late]).toEqual([3, ['a', 'b', 'late'], []]);
  });
});

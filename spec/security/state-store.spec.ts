import { describe, expect, it } from '@jest/globals';
import { memoryStore } from '../../lib/security/state-store.ts';

describe('a store in memory', () => {
  it('gives what was written last', () => {
    const store = memoryStore();
    expect(store.read()).toBeUndefined();
    store.write('one');
    store.write('two');
    expect(store.read()).toBe('two');
    expect(memoryStore('before').read()).toBe('before');
  });
});

import { describe, expect, it } from '@jest/globals';
import { createVerdicts, type VerdictStore } from '../../../lib/mcp/session/verdicts.ts';

const DAY_MS = 86_400_000;
const modern = { kind: 'modern', discover: { supportedVersions: ['2026-07-28'] } } as const;

function memory(text?: string): VerdictStore & { text: string | undefined } {
  return {
    text,
    read() {
      return this.text;
    },
    write(next) {
      this.text = next;
    },
  };
}

describe('verdicts', () => {
  it('hand on what one process found out to the next', () => {
    const store = memory();
    createVerdicts({ wallTime: () => 1000, store }).put('a', modern);
    expect(createVerdicts({ wallTime: () => 2000, store }).get('a')).toEqual(modern);
  });

  it('expire after a day, also when they were confirmed meanwhile', () => {
    let now = 0;
    const verdicts = createVerdicts({ wallTime: () => now });
    verdicts.put('a', { kind: 'legacy' });
    now = DAY_MS - 1;
    verdicts.put('a', { kind: 'legacy' });
    expect(verdicts.get('a')).toEqual({ kind: 'legacy' });
    now = DAY_MS;
    expect(verdicts.get('a')).toBeUndefined();
  });

  it('do not trust a date of the future', () => {
    const store = memory(JSON.stringify({ a: { at: 5000, verdict: { kind: 'legacy' } } }));
    expect(createVerdicts({ wallTime: () => 1000, store }).get('a')).toBeUndefined();
  });

  it('can be dropped, here and in the store', () => {
    const store = memory();
    const verdicts = createVerdicts({ wallTime: () => 0, store });
    verdicts.put('a', { kind: 'legacy' });
    verdicts.drop('a');
    expect(verdicts.get('a')).toBeUndefined();
    expect(store.text).toBe('{}');
  });

  it.each([
    '{',
    '[]',
    '"x"',
    '{"a":1}',
    '{"a":{"at":"x","verdict":{"kind":"legacy"}}}',
    '{"a":{"at":1,"verdict":{"kind":"modern"}}}',
  ])('ignore a store with %s in it, and say so where it cannot be read', (text) => {
    const failed: unknown[] = [];
    const verdicts = createVerdicts({
      wallTime: () => 1,
      store: memory(text),
      onStoreFailed: (e) => failed.push(e),
    });
    expect(verdicts.get('a')).toBeUndefined();
    expect(failed).toHaveLength(text === '{' ? 1 : 0);
  });

  it('live on in memory when the store cannot be written', () => {
    const failed: unknown[] = [];
    const store: VerdictStore = {
      read: () => undefined,
      write() {
        throw new Error('disk full');
      },
    };
    const verdicts = createVerdicts({ wallTime: () => 0, store, onStoreFailed: (e) => failed.push(e) });
    verdicts.put('a', modern);
    expect(verdicts.get('a')).toEqual(modern);
    expect(failed).toHaveLength(1);
  });
});

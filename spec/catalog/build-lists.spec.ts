import { describe, expect, it } from '@jest/globals';
import { createCatalog, withInventory, type Catalog } from '../../lib/catalog/catalog.ts';
import { emptyInventory } from '../../lib/catalog/inventory.ts';
import { buildLists } from '../../lib/catalog/build-lists.ts';

function catalogOf(servers: number): Catalog {
  const order = Array.from({ length: servers }, (_, i) => `s${i}`);
  return order.reduce(
    (catalog, server) =>
      withInventory(catalog, server, {
        ...emptyInventory(server, 0),
        tools: { items: [{ name: 'x', inputSchema: { type: 'object' } }], listedAt: 0 },
      }),
    createCatalog(order),
  );
}

const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `s${i}`);

describe('buildLists', () => {
  it('has all at hand afterwards, and gives others their turn every slice', async () => {
    const catalog = catalogOf(40);
    let time = 0;
    let pauses = 0;
    await buildLists(catalog, 'tools', names(40), {
      sliceMs: 8,
      now: () => (time += 4),
      pause: async () => void (pauses += 1),
    });
    // Five looks at the clock, each a reading later; a pause begins a new slice with another.
    expect(pauses).toBe(2);
    const one = catalog.listOf('s7', 'tools');
    expect(catalog.listOf('s7', 'tools')).toBe(one);
    expect(catalog.list('tools')).toHaveLength(40);
    expect(catalog.list('tools')[7]).toBe(one[0]);
  });

  it('lets timers and sockets have their turn by default', async () => {
    let turns = 0;
    const count = (): void => {
      turns += 1;
      timer = setImmediate(count);
    };
    let timer = setImmediate(count);
    await buildLists(catalogOf(40), 'tools', names(40), { sliceMs: 0 });
    clearImmediate(timer);
    expect(turns).toBeGreaterThanOrEqual(5);
  });

  it('takes servers that have listed nothing', async () => {
    await expect(buildLists(catalogOf(1), 'tools', ['s0', 'nobody'])).resolves.toBeUndefined();
  });
});

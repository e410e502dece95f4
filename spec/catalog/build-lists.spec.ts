import { describe, expect, it } from '@jest/globals';
import { createCatalog, withInventory, type Catalog } from '../../lib/catalog/catalog.ts';
import { emptyInventory } from '../../lib/catalog/inventory.ts';
import { buildLists } from '../../lib/catalog/build-lists.ts';
import { Pace } from '../../lib/core/pace.ts';

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
  it('has all at hand afterwards, gives others their turn when a slice is spent, and builds nothing twice', async () => {
    const catalog = catalogOf(40);
    let time = 0;
    const pace = new Pace(() => (time += 1), 8);
    let turns = 0;
    const turning = {
      get spent() {
        return pace.spent;
      },
      nextTurn: () => {
        turns += 1;
        return pace.nextTurn();
      },
    };
    await buildLists(catalog, 'tools', names(40), turning);
    expect(turns).toBe(5);
    const one = catalog.listOf('s7', 'tools');
    expect(catalog.unbuilt('tools')).toEqual([]);
    expect(catalog.list('tools')).toHaveLength(40);
    expect(catalog.list('tools')[7]).toBe(one[0]);
    await buildLists(catalog, 'tools', names(40), turning);
    expect(turns).toBe(5);
  });

  it('builds what was asked for', async () => {
    const catalog = catalogOf(4);
    await buildLists(catalog, 'tools', ['s1', 's3'], new Pace(() => 0));
    expect(catalog.unbuilt('tools')).toEqual(['s0', 's2']);
  });

  it('takes servers that have listed nothing', async () => {
    await expect(
      buildLists(catalogOf(1), 'tools', ['s0', 'nobody'], new Pace(() => 0)),
    ).resolves.toBeUndefined();
  });
});

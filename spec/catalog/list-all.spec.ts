import { describe, expect, it } from '@jest/globals';
import { createCatalog, withInventory, type Catalog } from '../../lib/catalog/catalog.ts';
import { emptyInventory } from '../../lib/catalog/inventory.ts';
import { listAll } from '../../lib/catalog/list-all.ts';

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

describe('listAll', () => {
  it('gives the very list of the catalog, and others their turn every slice', async () => {
    const catalog = catalogOf(10);
    let time = 0;
    let pauses = 0;
    const items = await listAll(catalog, 'tools', {
      sliceMs: 8,
      now: () => (time += 2),
      pause: async () => void (pauses += 1),
    });
    expect(items).toBe(catalog.list('tools'));
    expect(items).toHaveLength(10);
    expect(pauses).toBe(2);
  });

  it('lets timers and sockets have their turn by default', async () => {
    let turns = 0;
    const count = (): void => {
      turns += 1;
      timer = setImmediate(count);
    };
    let timer = setImmediate(count);
    await listAll(catalogOf(5), 'tools', { sliceMs: 0 });
    clearImmediate(timer);
    expect(turns).toBeGreaterThanOrEqual(5);
  });
});

import type { RoutingStrategy } from '../strategy.ts';
import { readNumbers } from '../strategy-options.ts';
import {
  type DeadlineOrder,
  createDeadlineOrder,
  resizeOrder,
  restoreOrder,
  snapshotOrder,
  takeTurn,
} from './deadline-order.ts';

/**
 * In turn, starting in a random order. Equal counts, not equal load: a slow replica gets as many requests as a fast one
 * and diverges. The turns of a masked replica are spread over all the others, not given to its neighbour.
 */
export function roundRobin(options?: unknown): RoutingStrategy<DeadlineOrder> {
  readNumbers('round-robin', options, {});
  return {
    name: 'round-robin',
    init: createDeadlineOrder,
    pick: (s, ctx) => takeTurn(s, ctx, undefined),
    resize: resizeOrder,
    snapshot: snapshotOrder,
    restore: restoreOrder,
  };
}

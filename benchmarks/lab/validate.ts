import type { Experiment } from './lab.ts';
import { POOLS } from './validate/pools.ts';
import { QUEUES } from './validate/queues.ts';
import { RESILIENCE } from './validate/resilience.ts';
import { WHOLE } from './validate/whole.ts';

/** Every row of `routing.md` §4.3, and a few of the lab's own (V10, V35, V36, V37). */
export const VALIDATION: readonly Experiment[] = [...QUEUES, ...POOLS, ...RESILIENCE, ...WHOLE].sort(
  (a, b) => Number(a.id.slice(1)) - Number(b.id.slice(1)),
);

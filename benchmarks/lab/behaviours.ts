import { AFFINITY } from './behaviours/affinity.ts';
import { BALANCE } from './behaviours/balance.ts';
import { FAULTS } from './behaviours/faults.ts';
import { STALE } from './behaviours/stale.ts';
import type { Experiment } from './lab.ts';

/** The twelve of `routing.md` §4.4: who is better and by what factor, not digits. */
export const BEHAVIOURS: readonly Experiment[] = [...BALANCE, ...STALE, ...FAULTS, ...AFFINITY];

/**
 * What one check may cost, counted and not timed, so that the same value always gets the same answer. One unit is
 * about a nanosecond of the 2-core machine it was measured on.
 */
export interface WorkBudget {
  left: number;
  /** Throws; called when `left` has become negative. */
  spent(): never;
}

export function createWorkBudget(): WorkBudget {
  return {
    left: 0,
    spent() {
      throw new Error('checking this value would take too long');
    },
  };
}

/** Moving averages over irregular samples, all with time constant τ: after τ without a sample 36.8 % of a value are left. */

/** How much of a value is left after `elapsedMs`. */
export function remaining(elapsedMs: number, tauMs: number): number {
  if (elapsedMs <= 0) return 1;
  const x = elapsedMs / tauMs;
  // Two terms are exact to 2·10⁻⁷ below 0.01, where nearly all reads of a busy pool lie, and save the call of exp.
  return x < 0.01 ? 1 - x + 0.5 * x * x : Math.exp(-x);
}

/** `value`, forgotten towards `rest`. */
export function faded(value: number, rest: number, elapsedMs: number, tauMs: number): number {
  return rest + (value - rest) * remaining(elapsedMs, tauMs);
}

/** The average after a sample that arrived `elapsedMs` after the one before. */
export function averaged(value: number, sample: number, elapsedMs: number, tauMs: number): number {
  return faded(value, sample, elapsedMs, tauMs);
}

/** Finagle's peak average: what is slower than the average replaces it at once, what is faster is averaged in. */
export function peaked(value: number, sample: number, elapsedMs: number, tauMs: number): number {
  return sample > value ? sample : averaged(value, sample, elapsedMs, tauMs);
}

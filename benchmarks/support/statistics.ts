import { availableParallelism, loadavg } from 'node:os';

/** The value below which the share `q` of the samples lies; NaN of none. */
export function quantile(samples: readonly number[], q: number): number {
  if (samples.length === 0) return Number.NaN;
  const sorted = Float64Array.from(samples).sort();
  return sorted[
    Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1 < 0 ? 0 : Math.ceil(q * sorted.length) - 1)
  ] as number;
}

export function median(samples: readonly number[]): number {
  return quantile(samples, 0.5);
}

/** What else the machine does: figures of a loaded machine are worth less than their ratios. */
export function machineLoad(): { readonly cores: number; readonly load1: number } {
  return { cores: availableParallelism(), load1: Math.round((loadavg()[0] ?? 0) * 100) / 100 };
}

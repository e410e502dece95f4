import type { RoutingStrategy } from '../../lib/routing/strategy.ts';
import { strategyByName } from '../../lib/routing/strategy-registry.ts';
import { deviation, mean } from './metrics.ts';
import type { Chart } from './svg.ts';

/** What every experiment is given. `strategy` makes the shipped ones; the mutants put a broken one in its place. */
export interface Lab {
  readonly strategy: (name: string, options?: Readonly<Record<string, unknown>>) => RoutingStrategy;
  readonly seeds: readonly number[];
  /** 1; less for `--quick`: fewer requests. */
  readonly scale: number;
  /** Multiplies the tolerances: 1, and √10 for `--quick`, which has ten times fewer samples. */
  readonly slack: number;
  /** Where an experiment draws what it has found. Default: nowhere. */
  readonly draw?: (chart: Chart) => void;
}

export const FULL: Lab = { strategy: strategyByName, seeds: [1, 2, 3, 4], scale: 1, slack: 1 };
export const QUICK: Lab = { strategy: strategyByName, seeds: [1, 2, 3], scale: 0.1, slack: 3.2 };

/** One number or one claim of an experiment. */
export interface Finding {
  readonly what: string;
  readonly expected: string;
  readonly measured: string;
  /** By how much it may differ, or `holds` for a claim. */
  readonly allowed: string;
  readonly ok: boolean;
  /** It is not part of the verdict; says why. */
  readonly note?: string;
}

export interface Experiment {
  readonly id: string;
  readonly what: string;
  run(lab: Lab): readonly Finding[] | Promise<readonly Finding[]>;
}

export function digits(value: number): string {
  if (Number.isNaN(value)) return '–';
  if (Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  return value.toFixed(size >= 1_000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : size >= 0.1 ? 3 : 4);
}

/** One number, or one a seed. */
export type Figure = number | readonly number[];

export const middle = (figure: Figure): number => (typeof figure === 'number' ? figure : mean(figure));

/** Of one number a seed the mean ± the standard deviation. */
export function spread(figure: Figure): string {
  if (typeof figure === 'number') return digits(figure);
  return figure.length < 2 ? digits(mean(figure)) : `${digits(mean(figure))} ± ${digits(deviation(figure))}`;
}

/** A number that must be within a share of the expected one. */
export function near(what: string, expected: number, measured: Figure, tolerance: number): Finding {
  const ok = Math.abs(middle(measured) - expected) <= tolerance * Math.abs(expected);
  return {
    what,
    expected: digits(expected),
    measured: spread(measured),
    allowed: `±${+(tolerance * 100).toFixed(2)} %`,
    ok,
  };
}

/** A number that must be within so much of the expected one. */
export function within(what: string, expected: number, measured: Figure, by: number): Finding {
  return {
    what,
    expected: digits(expected),
    measured: spread(measured),
    allowed: `±${digits(by)}`,
    ok: Math.abs(middle(measured) - expected) <= by + 1e-12,
  };
}

/** Something that must be so. */
export function holds(what: string, expected: string, measured: string, ok: boolean): Finding {
  return { what, expected, measured, allowed: 'holds', ok };
}

/**
 * Values must rise from left to right. Of simulated ones, one a seed, chance is a part: two of them are in order when the mean
 * of their differences, seed by seed, is more than twice its own standard error. Else the experiment cannot tell them apart.
 */
export function rises(what: string, values: Readonly<Record<string, Figure>>): Finding {
  const entries = Object.entries(values);
  const ok = entries.every(([, value], i) => i === 0 || isBelow(entries[i - 1]![1], value));
  return {
    what,
    expected: entries.map(([name]) => name).join(' < '),
    measured: entries.map(([, v]) => spread(v)).join(' / '),
    allowed: entries.some(([, v]) => typeof v !== 'number') ? 'mean difference > 2 s.d./√n' : 'holds',
    ok,
  };
}

function isBelow(low: Figure, high: Figure): boolean {
  if (typeof low === 'number' || typeof high === 'number') return middle(low) < middle(high);
  const differences = high.map((value, i) => value - low[i]!);
  return mean(differences) > (2 * deviation(differences)) / Math.sqrt(differences.length);
}

/** `slow` is at least (or about) so many times `fast`. */
export function factor(what: string, slow: Figure, fast: Figure, from: number, to = Infinity): Finding {
  const ratio = middle(slow) / middle(fast);
  const range = to === Infinity ? `≥ ${from}×` : `${from}–${to}×`;
  const pairs = typeof slow === 'number' || typeof fast === 'number' ? [] : slow.map((v, i) => v / fast[i]!);
  const text =
    pairs.length < 2 ? `${ratio.toFixed(2)}×` : `${ratio.toFixed(2)}× ± ${digits(deviation(pairs))}`;
  return holds(what, range, text, ratio >= from && ratio <= to);
}

/**
 * A figure that is known not to be what the report has, and why. That is no licence: only between `low` and `high` it is the
 * known difference, beyond them something else is wrong and it fails.
 */
export function knownToDiffer(
  finding: Finding,
  value: Figure,
  [low, high]: readonly [low: number, high: number],
  why: string,
): Finding {
  if (finding.ok) return finding;
  const band = `${finding.allowed}; known to differ: ${digits(low)}–${digits(high)}`;
  const isKnown = middle(value) >= low && middle(value) <= high;
  return { ...finding, allowed: band, ...(isKnown && { note: why }) };
}

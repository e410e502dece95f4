import type { RoutingStrategy } from '../../lib/routing/strategy.ts';
import { strategyByName } from '../../lib/routing/strategy-registry.ts';

/** What every experiment is given. `strategy` makes the shipped ones; the mutants put a broken one in its place. */
export interface Lab {
  readonly strategy: (name: string, options?: Readonly<Record<string, unknown>>) => RoutingStrategy;
  readonly seeds: readonly number[];
  /** 1; less for `--quick`: fewer requests. */
  readonly scale: number;
  /** Multiplies the tolerances: 1, and √10 for `--quick`, which has ten times fewer samples. */
  readonly slack: number;
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

/** A number that must be within a share of the expected one. */
export function near(what: string, expected: number, measured: number, tolerance: number): Finding {
  const ok = Math.abs(measured - expected) <= tolerance * Math.abs(expected);
  return {
    what,
    expected: digits(expected),
    measured: digits(measured),
    allowed: `±${+(tolerance * 100).toFixed(2)} %`,
    ok,
  };
}

/** A number that must be within so much of the expected one. */
export function within(what: string, expected: number, measured: number, by: number): Finding {
  return {
    what,
    expected: digits(expected),
    measured: digits(measured),
    allowed: `±${digits(by)}`,
    ok: Math.abs(measured - expected) <= by + 1e-12,
  };
}

/** Something that must be so. */
export function holds(what: string, expected: string, measured: string, ok: boolean): Finding {
  return { what, expected, measured, allowed: 'holds', ok };
}

/** Values must rise from left to right. */
export function rises(what: string, values: Readonly<Record<string, number>>): Finding {
  const entries = Object.entries(values);
  const ok = entries.every(([, value], i) => i === 0 || entries[i - 1]![1] < value);
  return holds(
    what,
    entries.map(([name]) => name).join(' < '),
    entries.map(([, v]) => digits(v)).join(' / '),
    ok,
  );
}

import { median } from './statistics.ts';
import { table } from './table.ts';

/** A median with what it was taken from. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** What is asked for and what is. */
export interface Verdict {
  readonly goal: string;
  readonly measured: number;
  readonly spread: string;
  readonly held: boolean;
}

export function spreadOf(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/** A goal that the median is to reach (`≥`) or not to pass (`≤`). */
export function verdict(goal: string, { median, min, max }: Spread, sign: '≤' | '≥', bound: number): Verdict {
  return {
    goal: `${goal}: ${sign} ${+bound.toFixed(2)}`,
    measured: median,
    spread: `${figure(min)}–${figure(max)}`,
    held: sign === '≤' ? median <= bound : median >= bound,
  };
}

export function missedOf(verdicts: readonly Verdict[]): readonly string[] {
  return verdicts
    .filter(({ held }) => !held)
    .map(({ goal, measured }) => `${goal}; it is ${figure(measured)}`);
}

export function verdictTable(verdicts: readonly Verdict[]): string {
  const rows = verdicts.map(({ goal, measured, spread, held }) => [
    goal,
    figure(measured),
    spread,
    held ? 'held' : 'MISSED',
  ]);
  return table([['goal', 'measured', 'spread', ''], ...rows]);
}

export function withSpread({ median, min, max }: Spread, text: (value: number) => string = figure): string {
  return `${text(median)} (${text(min)}–${text(max)})`;
}

/** Three digits that matter. */
export function figure(value: number): string {
  return value >= 100 ? thousands(value) : value.toFixed(value >= 10 ? 1 : 2);
}

export function thousands(value: number): string {
  return Math.round(value)
    .toString()
    .replaceAll(/\B(?=(\d{3})+$)/g, ' ');
}

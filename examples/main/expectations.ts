import { setTimeout as pause } from 'node:timers/promises';

export interface Finding {
  readonly what: string;
  readonly expected: string;
  readonly measured: string;
  readonly held: boolean;
}

/** Collects what was expected and what was measured; nothing stops at the first that fails. */
export class Expectations {
  readonly findings: Finding[] = [];
  readonly #report: (finding: Finding) => void;

  constructor(report: (finding: Finding) => void) {
    this.#report = report;
  }

  get failed(): readonly Finding[] {
    return this.findings.filter(({ held }) => !held);
  }

  /** Runs `measure` and compares; what it throws is a finding too. */
  async expect<T>(
    what: string,
    expected: string,
    measure: () => Promise<T> | T,
    holds: (value: T) => boolean,
  ): Promise<void> {
    let finding: Finding;
    try {
      const value = await measure();
      finding = { what, expected, measured: brief(value), held: holds(value) };
    } catch (error) {
      finding = {
        what,
        expected,
        measured: error instanceof Error ? error.message : String(error),
        held: false,
      };
    }
    this.findings.push(finding);
    this.#report(finding);
  }
}

/** Waits until `holds`, at most `ms` milliseconds; returns whether it came to hold. */
export async function eventually(holds: () => boolean, ms: number): Promise<boolean> {
  const end = Date.now() + ms;
  while (!holds()) {
    if (Date.now() > end) return false;
    await pause(10);
  }
  return true;
}

function brief(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value));
  const line = text.replaceAll(/\s+/g, ' ');
  return line.length > 72 ? `${line.slice(0, 71)}…` : line;
}

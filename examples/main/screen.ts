import type { EngineEvent, FleetSnapshot } from '../../lib/index.ts';
import type { Finding } from './expectations.ts';

/** Writes for people: coloured on a terminal, plain when piped, silent when only JSON is wanted. */
export class Screen {
  readonly #silent: boolean;
  readonly #colour: boolean;
  readonly #began = performance.now();

  constructor(options: { readonly silent: boolean }) {
    this.#silent = options.silent;
    this.#colour = process.stdout.isTTY && process.env['NO_COLOR'] === undefined;
  }

  title(text: string): void {
    this.#line('');
    this.#line(this.#paint(1, text));
  }

  text(text: string): void {
    this.#line(`  ${text}`);
  }

  transition(event: Extract<EngineEvent, { type: 'connection.changed' }>): void {
    const seconds = ((performance.now() - this.#began) / 1000).toFixed(2).padStart(6);
    const code = event.to === 'Connected' ? 32 : event.to === 'Error' ? 31 : 2;
    const why = event.error === undefined ? '' : `  ${event.error.detail.slice(0, 90)}`;
    const retry = event.retryInMs === undefined ? '' : `  (again in ${event.retryInMs} ms)`;
    this.#line(
      `  ${seconds} s  ${event.connection.padEnd(16)} ${event.from} → ${this.#paint(code, event.to)}${why}${retry}`,
    );
  }

  finding({ what, measured, held, expected }: Finding): void {
    const mark = held ? this.#paint(32, 'ok  ') : this.#paint(31, 'FAIL');
    this.#line(`  ${mark} ${what.padEnd(44)} ${measured}${held ? '' : `  (expected ${expected})`}`);
  }

  fleet(fleet: FleetSnapshot): void {
    const rows = fleet.connections.map((c) => [
      c.id,
      c.transport ?? '-',
      c.era ?? '-',
      c.protocolVersion ?? '-',
      c.state,
      String(c.calls),
      c.latencyMs === undefined ? '-' : `${c.latencyMs.toFixed(1)} ms`,
      String(c.restarts),
    ]);
    const head = ['server', 'transport', 'era', 'revision', 'state', 'calls', 'latency', 'restarts'];
    const widths = head.map((cell, i) => Math.max(cell.length, ...rows.map((row) => row[i]?.length ?? 0)));
    const format = (row: readonly string[]): string =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd();
    this.#line(`  ${this.#paint(1, format(head))}`);
    for (const row of rows) this.#line(`  ${format(row)}`);
  }

  #paint(code: number, text: string): string {
    return this.#colour ? `\u001b[${code}m${text}\u001b[0m` : text;
  }

  #line(text: string): void {
    if (!this.#silent) process.stdout.write(`${text}\n`);
  }
}

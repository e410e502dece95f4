/**
 * `npm run soak -- [--seed N] [--seconds 60 | --minutes 30] [--short] [--allowance 1] [--json]`: thirty servers, half of
 * them going wrong in every way we know, then calls that must not run twice until 10 000 of them have met a fault, and the
 * promises that must hold all the same. Two minutes or more also look at the heap. Ends with 1 where a promise was broken.
 *
 * `--short` is a minute with fewer servers and faults. `--allowance 3` multiplies the floors of time, for machines that are
 * busy with something else or slow (CI); those that count are never eased.
 */
import { randomInt } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { seededRandom } from '../../lib/core/ports.ts';
import { readArguments } from '../support/arguments.ts';
import { keepResult } from '../support/results.ts';
import { machineLoad } from '../support/statistics.ts';
import { table } from '../support/table.ts';
import { none, type Check } from './checks.ts';
import { openControl } from './control.ts';
import { faultSoak } from './fault-soak.ts';
import { onceSoak } from './once-soak.ts';

// Mapping the stack of each error back to TypeScript costs a millisecond that no user of the package pays.
process.setSourceMapsEnabled(false);

const { values } = readArguments({
  options: {
    seed: { type: 'string' },
    seconds: { type: 'string' },
    minutes: { type: 'string' },
    allowance: { type: 'string', default: '1' },
    short: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const seed = Number(values.seed ?? randomInt(2 ** 31));
const seconds =
  values.minutes === undefined
    ? Number(values.seconds ?? (values.short ? 15 : 60))
    : 60 * Number(values.minutes);
const allowance = Number(values.allowance);
if (!Number.isSafeInteger(seed) || !(seconds > 0) || !(allowance >= 1)) {
  process.stderr.write(
    '--seed takes a whole number, --seconds or --minutes a positive one, --allowance one from 1 on\n',
  );
  process.exit(2);
}
/** Below this the heap still warms up. */
const LONG_SECONDS = 120;

const troubles: string[] = [];
for (const event of ['uncaughtException', 'unhandledRejection', 'warning']) {
  process.on(event, (error: unknown) =>
    troubles.push(`${event}: ${String((error as Error | undefined)?.stack ?? error)}`),
  );
}
const tell = (text: string): void => void process.stderr.write(`${text}\n`);
const load = machineLoad();
tell(`seed ${seed}, load ${load.load1} on ${load.cores} cores`);
const directory = mkdtempSync(join(tmpdir(), 'troupe-soak-'));
const control = await openControl();
const random = seededRandom(seed);
const log = join(directory, 'executions');
try {
  const faults = await faultSoak({
    control,
    random,
    log,
    stdio: values.short ? 8 : 20,
    http: values.short ? 4 : 10,
    callsPerSecond: 20,
    seconds,
    quietSeconds: values.short ? 2 : 5,
    leastFaults: values.short ? 1 : 5,
    allowance,
    // With 15 faulty servers some three faults begin each second; denser, and the soak would measure how two cores fare
    // with ever so many processes that start.
    restMs: values.short ? 1_200 : 3_000,
    long: seconds >= LONG_SECONDS,
    tell,
  });
  const once = await onceSoak({
    control,
    random,
    log,
    faultedCalls: values.short ? 500 : 10_000,
    idempotentCalls: values.short ? 1_000 : 10_000,
    tell,
  });
  const checks: Check[] = [...faults.checks, ...once.checks, none('unhandled errors and warnings', troubles)];
  const missed = checks.filter(({ ok }) => !ok).map(({ what }) => what);
  const result = { seed, seconds, short: values.short, allowance, load, checks, missed, faults, once };
  keepResult(values.short ? 'soak-short' : 'soak', result);
  process.stdout.write(values.json ? `${JSON.stringify(result)}\n` : `${printed(result)}\n`);
  if (missed.length > 0) process.exitCode = 1;
} catch (error) {
  // With the listeners above nothing else would end us.
  process.stderr.write(`the soak itself failed: ${String((error as Error | undefined)?.stack ?? error)}\n`);
  process.exit(1);
} finally {
  await control.close();
  rmSync(directory, { recursive: true });
}

function printed({
  checks,
  missed,
  faults,
  once,
}: { checks: Check[]; missed: string[] } & {
  faults: Awaited<ReturnType<typeof faultSoak>>;
  once: Awaited<ReturnType<typeof onceSoak>>;
}): string {
  const pairs = (record: Readonly<Record<string, number>>): string =>
    Object.entries(record)
      .map(([name, value]) => `${name} ${Number.isInteger(value) ? value : value.toFixed(2)}`)
      .join(' · ');
  return [
    `soak, seed ${seed}, ${faults.calls} calls under faults (load ${load.load1} on ${load.cores} cores)`,
    ...(allowance > 1 ? [`floors of time are eased by ${allowance}`] : []),
    table([
      ['promise', 'figure', 'floor', ''],
      ...checks.map((c) => [c.what, c.figure, c.floor, c.ok ? 'ok' : 'MISSED']),
    ]),
    `faults: ${pairs(faults.faults)}`,
    `errors under faults: ${pairs(faults.errors)}`,
    `errors of unsafe calls: ${pairs(once.errors.unsafe)}`,
    `errors of idempotent calls: ${pairs(once.errors.idempotent)}`,
    `figures: ${pairs({ ...faults.figures, ...once.figures })}`,
    missed.length === 0
      ? 'all promises held'
      : `${missed.length} promises were broken; again with --seed ${seed}`,
  ].join('\n');
}

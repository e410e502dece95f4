/**
 * `npm run bench -- [call] [extremes] [inside] [peers] [profile] [start] [--transport memory|stdio|http] [--quick] [--rounds N]
 * [--json]`: the measurements; without a name all but `peers`, which needs `npm ci --prefix benchmarks/peers` first. What is
 * less than a measurement replaces nothing that is kept. `--redraw` measures nothing and draws the reports of what is kept.
 */
import { benchCall, printCall } from './call/call.ts';
import { TRANSPORTS, type Transport } from './call/contest.ts';
import { benchExtremes, EXTREMES_ROUNDS, printExtremes } from './extremes/extremes.ts';
import { benchInside, INSIDE_ROUNDS, printInside } from './inside/inside.ts';
import { benchPeers, PEERS_ROUNDS, printPeers } from './peers/peers.ts';
import { benchProfile, printProfile } from './profile/profile.ts';
import { benchStart, printStart, START_ROUNDS } from './start/start.ts';
import { REPORTS, type Report } from './report/reports.ts';
import { readArguments } from './support/arguments.ts';
import { whyNotKept } from './support/keeping.ts';
import { keepResult, keepText, keptResult, originOf, type Kept } from './support/results.ts';

const { values, positionals } = readArguments({
  allowPositionals: true,
  options: {
    rounds: { type: 'string' },
    transport: { type: 'string', multiple: true },
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    redraw: { type: 'boolean', default: false },
  },
});

function usage(text: string): never {
  process.stderr.write(`${text}\n`);
  process.exit(2);
}

function transportOf(name: string): Transport {
  const transport = TRANSPORTS.find((known) => known === name);
  return transport ?? usage(`no transport "${name}"; there are ${TRANSPORTS.join(', ')}`);
}

if (values.rounds !== undefined && !/^[1-9]\d*$/.test(values.rounds))
  usage(`--rounds is "${values.rounds}"; give a whole number from 1`);
const rounds = values.rounds === undefined ? {} : { rounds: Number(values.rounds) };
const transports = values.transport === undefined ? {} : { transports: values.transport.map(transportOf) };

/** Of a measurement of the two that can be quick as well. */
const CALL_ROUNDS = 5;
const PROFILE_ROUNDS = 3;

interface Bench<T extends { readonly missed: readonly string[] }> {
  /** Of a measurement. */
  readonly rounds: number;
  readonly run: () => Promise<T>;
  readonly print: (result: T) => string;
  readonly report: (result: Kept<T>) => Report;
}

function keepReport(name: string, { markdown, plots }: Report): void {
  keepText(`${name}.md`, markdown);
  for (const [file, svg] of Object.entries(plots)) keepText(file, svg);
}

/** Runs, keeps and prints one; gives back whether all its goals are held. */
const bench =
  <T extends { readonly missed: readonly string[] }>({ rounds: needed, run, print, report }: Bench<T>) =>
  async (name: string): Promise<boolean> => {
    if (values.redraw) {
      const kept = keptResult<T>(name);
      if (kept !== undefined) keepReport(name, report(kept));
      return true;
    }
    const origin = originOf(`npm run bench -- ${process.argv.slice(2).join(' ')}`.trim());
    const result = { origin, ...(await run()) };
    const less = whyNotKept({ ...rounds, transport: values.transport, quick: values.quick }, needed);
    if (less === undefined) {
      keepResult(name, result);
      keepReport(name, report(result));
    }
    process.stdout.write(values.json ? `${JSON.stringify(result)}\n` : `${print(result)}\n\n`);
    if (less !== undefined) process.stderr.write(`${name}: not kept, since it is ${less}\n`);
    return result.missed.length === 0;
  };

/** As many as asked for, else those of a measurement; a quick run knows how many it needs. */
function measured(needed: number): { readonly rounds?: number } {
  return values.quick ? rounds : { rounds: needed, ...rounds };
}

const BENCHES: Readonly<Record<string, (name: string) => Promise<boolean>>> = {
  call: bench({
    rounds: CALL_ROUNDS,
    run: () => benchCall({ ...measured(CALL_ROUNDS), ...transports, quick: values.quick }),
    print: printCall,
    report: REPORTS.call,
  }),
  extremes: bench({
    rounds: EXTREMES_ROUNDS,
    run: () => benchExtremes(rounds),
    print: printExtremes,
    report: REPORTS.extremes,
  }),
  inside: bench({
    rounds: INSIDE_ROUNDS,
    run: () => benchInside(rounds),
    print: printInside,
    report: REPORTS.inside,
  }),
  peers: bench({
    rounds: PEERS_ROUNDS,
    run: () => benchPeers(rounds),
    print: printPeers,
    report: REPORTS.peers,
  }),
  profile: bench({
    rounds: PROFILE_ROUNDS,
    run: () => benchProfile({ ...measured(PROFILE_ROUNDS), ...transports, quick: values.quick }),
    print: printProfile,
    report: REPORTS.profile,
  }),
  start: bench({
    rounds: START_ROUNDS,
    run: () => benchStart(rounds),
    print: printStart,
    report: REPORTS.start,
  }),
};

const names =
  positionals.length === 0
    ? Object.keys(BENCHES).filter((name) => name !== 'peers' || values.redraw)
    : positionals;
for (const name of names) {
  const found =
    BENCHES[name] ?? usage(`no benchmark "${name}"; there are ${Object.keys(BENCHES).join(', ')}`);
  if (!(await found(name))) process.exitCode = 1;
}

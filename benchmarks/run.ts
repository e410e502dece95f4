/**
 * `npm run bench -- [call] [extremes] [inside] [peers] [profile] [start] [--transport memory|stdio|http] [--quick] [--rounds N]
 * [--json]`: the measurements; without a name all but `peers`, which needs `npm ci --prefix benchmarks/peers` first.
 */
import { benchCall, printCall } from './call/call.ts';
import { TRANSPORTS, type Transport } from './call/contest.ts';
import { benchExtremes, printExtremes } from './extremes/extremes.ts';
import { benchInside, printInside } from './inside/inside.ts';
import { benchPeers, printPeers } from './peers/peers.ts';
import { benchProfile, printProfile } from './profile/profile.ts';
import { benchStart, printStart } from './start/start.ts';
import { REPORTS } from './report/reports.ts';
import { readArguments } from './support/arguments.ts';
import { keepResult, keepText, originOf, type Kept } from './support/results.ts';

const { values, positionals } = readArguments({
  allowPositionals: true,
  options: {
    rounds: { type: 'string' },
    transport: { type: 'string', multiple: true },
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
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

interface Bench<T extends { readonly missed: readonly string[] }> {
  readonly run: () => Promise<T>;
  readonly print: (result: T) => string;
  readonly report: (result: Kept<T>) => { markdown: string; plots: Readonly<Record<string, string>> };
}

/** Runs, keeps and prints one; gives back whether all its goals are held. */
const bench =
  <T extends { readonly missed: readonly string[] }>({ run, print, report }: Bench<T>) =>
  async (name: string): Promise<boolean> => {
    const origin = originOf(`npm run bench -- ${process.argv.slice(2).join(' ')}`.trim());
    const result = { origin, ...(await run()) };
    // A look at a part, or a quick one, replaces no measurement.
    if (!values.quick && values.transport === undefined) {
      const { markdown, plots } = report(result);
      keepResult(name, result);
      keepText(`${name}.md`, markdown);
      for (const [file, svg] of Object.entries(plots)) keepText(file, svg);
    }
    process.stdout.write(values.json ? `${JSON.stringify(result)}\n` : `${print(result)}\n\n`);
    return result.missed.length === 0;
  };

const BENCHES: Readonly<Record<string, (name: string) => Promise<boolean>>> = {
  call: bench({
    run: () => benchCall({ ...rounds, ...transports, quick: values.quick }),
    print: printCall,
    report: REPORTS.call,
  }),
  extremes: bench({ run: () => benchExtremes(rounds), print: printExtremes, report: REPORTS.extremes }),
  inside: bench({ run: () => benchInside(rounds), print: printInside, report: REPORTS.inside }),
  peers: bench({ run: () => benchPeers(rounds), print: printPeers, report: REPORTS.peers }),
  profile: bench({
    run: () => benchProfile({ ...rounds, ...transports, quick: values.quick }),
    print: printProfile,
    report: REPORTS.profile,
  }),
  start: bench({ run: () => benchStart(rounds), print: printStart, report: REPORTS.start }),
};

const names =
  positionals.length === 0 ? Object.keys(BENCHES).filter((name) => name !== 'peers') : positionals;
for (const name of names) {
  const found =
    BENCHES[name] ?? usage(`no benchmark "${name}"; there are ${Object.keys(BENCHES).join(', ')}`);
  if (!(await found(name))) process.exitCode = 1;
}

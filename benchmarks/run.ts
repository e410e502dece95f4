/**
 * `npm run bench -- [call] [extremes] [inside] [peers] [start] [--transport memory|stdio|http] [--quick] [--rounds N] [--json]`: the measurements;
 * without a name all but `peers`, which needs `npm ci --prefix benchmarks/peers` first.
 */
import { parseArgs } from 'node:util';
import { benchCall, printCall } from './call/call.ts';
import { TRANSPORTS, type Transport } from './call/contest.ts';
import { benchExtremes, printExtremes } from './extremes/extremes.ts';
import { benchInside, printInside } from './inside/inside.ts';
import { benchPeers, printPeers } from './peers/peers.ts';
import { benchStart, printStart } from './start/start.ts';
import { keepResult } from './support/results.ts';

const { values, positionals } = parseArgs({
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

interface Measured {
  readonly text: string;
  readonly result: { readonly missed: readonly string[] };
}

const BENCHES: Readonly<Record<string, () => Promise<Measured>>> = {
  call: async () => {
    const result = await benchCall({ ...rounds, ...transports, quick: values.quick });
    return { text: printCall(result), result };
  },
  extremes: async () => {
    const result = await benchExtremes(rounds);
    return { text: printExtremes(result), result };
  },
  inside: async () => {
    const result = await benchInside(rounds);
    return { text: printInside(result), result };
  },
  peers: async () => {
    const result = await benchPeers(rounds);
    return { text: printPeers(result), result };
  },
  start: async () => {
    const result = await benchStart(rounds);
    return { text: printStart(result), result };
  },
};

const names =
  positionals.length === 0 ? Object.keys(BENCHES).filter((name) => name !== 'peers') : positionals;
for (const name of names) {
  const bench =
    BENCHES[name] ?? usage(`no benchmark "${name}"; there are ${Object.keys(BENCHES).join(', ')}`);
  const { text, result } = await bench();
  // A quick look replaces no measurement.
  if (!values.quick) keepResult(name, result);
  process.stdout.write(values.json ? `${JSON.stringify(result)}\n` : `${text}\n\n`);
  if (result.missed.length > 0) process.exitCode = 1;
}

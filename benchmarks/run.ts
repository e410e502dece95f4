/** `npm run bench -- [start] [call] [--rounds N] [--json]`: the measurements; all without a name. */
import { parseArgs } from 'node:util';
import { benchStart, printStart } from './start/start.ts';
import { keepResult } from './support/results.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string' }, json: { type: 'boolean', default: false } },
});
const rounds = values.rounds === undefined ? {} : { rounds: Number(values.rounds) };

const BENCHES: Readonly<
  Record<string, () => Promise<{ text: string; result: { missed: readonly string[] } }>>
> = {
  start: async () => {
    const result = await benchStart(rounds);
    return { text: printStart(result), result };
  },
};

const names = positionals.length === 0 ? Object.keys(BENCHES) : positionals;
for (const name of names) {
  const bench = BENCHES[name];
  if (bench === undefined) {
    process.stderr.write(`no benchmark "${name}"; there are ${Object.keys(BENCHES).join(', ')}\n`);
    process.exit(2);
  }
  const { text, result } = await bench();
  keepResult(name, result);
  process.stdout.write(values.json ? `${JSON.stringify(result)}\n` : `${text}\n\n`);
  if (result.missed.length > 0) process.exitCode = 1;
}

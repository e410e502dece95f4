/**
 * The laboratory: the shipped routing in virtual time.
 *
 *   npm run lab -- validate | behaviours | compare | live | replay | mutants   (--help says more)
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { isTroupeError } from '../../lib/core/errors.ts';
import { BEHAVIOURS } from './behaviours.ts';
import { dipCurves } from './behaviours/faults.ts';
import { type Comparison, compare, compareEngines } from './compare.ts';
import { judge, verdictTable, wordOf } from './experiments.ts';
import { type Experiment, FULL, type Lab, QUICK } from './lab.ts';
import { live } from './live.ts';
import { MUTATION } from './mutants.ts';
import { replay } from './replay.ts';
import { saveFile, saveVerdicts } from './results.ts';
import { svgOf } from './svg.ts';
import { readTrace } from './trace.ts';
import { UsageError } from './usage-error.ts';
import { VALIDATION } from './validate.ts';
import { WORKLOADS } from './workloads.ts';

const HELP = `npm run lab -- <command>
  validate   [--quick] [--only V1,V12]     queueing theory against simulated events; 8 minutes on a busy machine
  behaviours [--quick] [--only B7]         who is better and by what factor, with plots; 13 minutes
  compare    --workload NAME --replicas N --strategies a,b [--clients K] [--requests N] [--seed 1]
             --engine: the whole engine over fake transports, routing only
  live       [--requests 1200] [--repetitions 3] [--tries 6]   the same trace through real processes; 4 minutes, and
                                           the machine must be quiet
  replay     --trace FILE --replicas N --strategies a,b      a recorded trace (recordTrace)
  mutants    [--only p2c]                  every strategy broken on purpose is caught
workloads: ${Object.keys(WORKLOADS).join(', ')}
`;

interface Options {
  readonly quick?: boolean | undefined;
  readonly engine?: boolean | undefined;
  readonly only?: string | undefined;
  readonly workload?: string | undefined;
  readonly replicas?: string | undefined;
  readonly strategies?: string | undefined;
  readonly clients?: string | undefined;
  readonly requests?: string | undefined;
  readonly seed?: string | undefined;
  readonly trace?: string | undefined;
  readonly repetitions?: string | undefined;
  readonly tries?: string | undefined;
}

/** Exit code: 0 fine, 1 a figure is off, 2 the question makes no sense. */
export async function main(
  args: readonly string[],
  say: (line: string) => void,
  complain: (line: string) => void,
): Promise<number> {
  try {
    return await run(args, say);
  } catch (error) {
    if (error instanceof UsageError || (isTroupeError(error) && error.code === 'config_invalid')) {
      complain(error.message);
      return 2;
    }
    throw error;
  }
}

async function run(args: readonly string[], say: (line: string) => void): Promise<number> {
  const [command, ...rest] = args;
  if (command === undefined || command === '--help' || command === 'help') {
    say(HELP);
    return command === undefined ? 2 : 0;
  }
  const options = optionsOf(rest);
  switch (command) {
    case 'validate':
      return examine(VALIDATION, options, say, 'validate');
    case 'behaviours': {
      const code = await examine(BEHAVIOURS, options, say, 'behaviours');
      if (options.only === undefined || options.only.split(',').includes('B8')) plotDip(say);
      plotBalance(say);
      return code;
    }
    case 'mutants':
      return examine(MUTATION, { ...options, quick: true }, say);
    case 'compare': {
      const { workload } = options;
      if (workload === undefined)
        throw new UsageError(`--workload is missing; there are ${Object.keys(WORKLOADS).join(', ')}`);
      if (options.engine === true && options.clients !== undefined)
        throw new UsageError('--engine runs one engine; leave --clients out');
      const question = {
        workload,
        replicas: wholeOf('replicas', options.replicas),
        strategies: strategiesOf(options),
        ...(options.seed !== undefined && { seeds: [wholeOf('seed', options.seed)] }),
        ...(options.requests !== undefined && { requests: wholeOf('requests', options.requests) }),
        ...(options.clients !== undefined && { clients: wholeOf('clients', options.clients) }),
      };
      const compared = options.engine === true ? await compareEngines(question) : compare(question);
      return report(compared, `compare-${workload}.svg`, say);
    }
    case 'replay': {
      if (options.trace === undefined)
        throw new UsageError('--trace is missing: the file that formatTrace wrote');
      const replayed = replay({
        trace: readTrace(options.trace),
        replicas: wholeOf('replicas', options.replicas),
        strategies: strategiesOf(options),
      });
      return report(replayed, 'replay.svg', say);
    }
    case 'live': {
      const findings = await live({
        requests: wholeOf('requests', options.requests ?? '1200'),
        repetitions: wholeOf('repetitions', options.repetitions ?? '3'),
        tries: wholeOf('tries', options.tries ?? '6'),
        say,
      });
      return examine(
        [{ id: 'live', what: 'simulation against real processes', run: () => findings }],
        {},
        say,
        // A run on a loaded machine is not worth keeping.
        findings.some(({ what }) => what === 'clean runs') ? undefined : 'live',
      );
    }
    default:
      throw new UsageError(
        `there is no command "${command}"; there are validate, behaviours, compare, live, replay, mutants`,
      );
  }
}

function optionsOf(args: readonly string[]): Options {
  const text = { type: 'string' } as const;
  try {
    return parseArgs({
      args: [...args],
      options: {
        quick: { type: 'boolean' },
        engine: { type: 'boolean' },
        only: text,
        workload: text,
        replicas: text,
        strategies: text,
        clients: text,
        requests: text,
        seed: text,
        trace: text,
        repetitions: text,
        tries: text,
      },
    }).values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function wholeOf(name: string, text: string | undefined): number {
  if (text === undefined) throw new UsageError(`--${name} is missing`);
  if (!/^\d+$/.test(text) || Number(text) < 1)
    throw new UsageError(`--${name} must be a whole number of at least 1, not "${text}"`);
  return Number(text);
}

function strategiesOf({ strategies }: Options): string[] {
  if (strategies === undefined)
    throw new UsageError('--strategies is missing, for example --strategies p2c,round-robin');
  return strategies.split(',').filter((name) => name !== '');
}

async function examine(
  experiments: readonly Experiment[],
  { quick = false, only }: Options,
  say: (line: string) => void,
  command?: string,
): Promise<number> {
  const wanted = only?.split(',');
  const unknown = wanted?.find((id) => !experiments.some((e) => e.id === id));
  if (unknown !== undefined) {
    throw new UsageError(
      `--only: there is no "${unknown}"; there are ${experiments.map((e) => e.id).join(', ')}`,
    );
  }
  const lab: Lab = quick ? QUICK : FULL;
  const verdicts = [];
  const from = performance.now();
  for (const experiment of experiments) {
    if (wanted !== undefined && !wanted.includes(experiment.id)) continue;
    const verdict = await judge(experiment, lab);
    verdicts.push(verdict);
    say(`${wordOf(verdict).padEnd(7)} ${experiment.id}, ${verdict.seconds.toFixed(1)} s`);
  }
  say(verdictTable(verdicts));
  const failed = verdicts.filter(({ ok }) => !ok).map(({ experiment }) => experiment.id);
  const noted = verdicts.flatMap(({ findings }) => findings.filter((f) => !f.ok && f.note !== undefined));
  const seconds = ((performance.now() - from) / 1_000).toFixed(0);
  say(
    `${verdicts.length} cases in ${seconds} s${quick ? ' (quick: a tenth of the requests, 3.2 times the tolerance)' : ''}; ` +
      (failed.length > 0
        ? `not reproduced: ${failed.join(', ')}`
        : noted.length > 0
          ? 'the rest holds'
          : 'all hold') +
      (noted.length === 0
        ? ''
        : `; ${noted.length} ${noted.length === 1 ? 'figure is' : 'figures are'} known to differ`),
  );
  // Only a full run is worth keeping.
  if (command !== undefined && !quick) {
    const order = experiments.map(({ id }) => id);
    say(saveVerdicts(command, order, verdicts));
  }
  return failed.length === 0 ? 0 : 1;
}

function report(
  { table, recommendation, svg }: Comparison,
  file: string,
  say: (line: string) => void,
): number {
  say(table);
  say(`\n${recommendation}`);
  say(saveFile(file, svg));
  return 0;
}

function plotDip(say: (line: string) => void): void {
  const lines = Object.entries(dipCurves(QUICK)).map(([name, bins]) => ({
    name,
    points: bins.map((share, bin) => [bin * 5, share] as const),
  }));
  const svg = svgOf({
    title: 'Dip to 20 % from 20 s to 30 s, 3 retries',
    x: 's',
    y: 'answered in time',
    lines,
  });
  say(saveFile('behaviours-dip.svg', svg));
}

function plotBalance(say: (line: string) => void): void {
  for (const workload of ['poisson', 'mixed', 'antagonists']) {
    const { svg } = compare({
      workload,
      replicas: 20,
      strategies: ['ewma-least-outstanding', 'least-outstanding', 'p2c', 'round-robin', 'random'],
      seeds: [1],
    });
    say(saveFile(`behaviours-${workload}.svg`, svg));
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.exitCode = await main(
    process.argv.slice(2),
    (line) => console.log(line),
    (line) => console.error(line),
  );
}

/**
 * The laboratory: the shipped routing in virtual time.
 *
 *   npm run lab -- validate | behaviours | compare | live | replay | mutants   (--help says more)
 */
import { fileURLToPath } from 'node:url';
import { isTroupeError } from '../../lib/core/errors.ts';
import { BEHAVIOURS } from './behaviours.ts';
import { type Comparison, compare, compareEngines } from './compare.ts';
import { SIMULATED, type Verdict, judge, verdictTable, wordOf } from './experiments.ts';
import { type Experiment, FULL, type Lab, QUICK } from './lab.ts';
import { runLive } from './live-command.ts';
import { MUTATION } from './mutants.ts';
import { type Options, commandOf, listOf, optionsOf, strategiesOf, wholeOf } from './options.ts';
import { replay } from './replay.ts';
import { saveComparison, saveVerdicts } from './results.ts';
import { readTrace } from './trace.ts';
import { UsageError } from './usage-error.ts';
import { VALIDATION } from './validate.ts';
import { WORKLOADS } from './workloads.ts';

const HELP = `npm run lab -- <command>
  validate   [--quick] [--only V1,V12]     queueing theory against simulated events; 6 minutes
  behaviours [--quick] [--only B7]         who is better and by what factor, with plots; 10 minutes
  compare    --workload NAME --replicas N --strategies a,b [--clients K] [--requests N] [--seed 1]
             --engine: the whole engine over fake transports, routing only
  live       [--requests 1200] [--repetitions 3] [--tries 6]   the same trace through real processes; 4 minutes, and
                                           the machine must be quiet
  replay     --trace FILE --replicas N --slots N --strategies a,b [--speeds 1,1,0.25]    a recorded trace (recordTrace);
                                           slots: requests a replica works on at once, which a trace does not say
  mutants    [--only p2c]                  every strategy broken on purpose is caught
workloads: ${Object.keys(WORKLOADS).join(', ')}
`;

type Say = (line: string) => void;

/** Exit code: 0 fine, 1 a figure is off, 2 the question makes no sense. */
export async function main(args: readonly string[], say: Say, complain: Say): Promise<number> {
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

async function run(args: readonly string[], say: Say): Promise<number> {
  const [first, ...rest] = args;
  if (first === undefined || first === '--help' || first === 'help') {
    say(HELP);
    return first === undefined ? 2 : 0;
  }
  const command = commandOf(first);
  const options = optionsOf(command, rest);
  if (options.help === true) {
    say(HELP);
    return 0;
  }
  switch (command) {
    case 'validate':
      return examine(VALIDATION, options, say, 'validate');
    case 'behaviours':
      return examine(BEHAVIOURS, options, say, 'behaviours');
    case 'mutants':
      return examine(MUTATION, { ...options, quick: true }, say, 'mutants');
    case 'compare':
      return comparison(options, say);
    case 'replay':
      return replayed(options, say);
    case 'live':
      return runLive(options, say);
  }
}

async function comparison(options: Options, say: Say): Promise<number> {
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
  return report(compared, `${workload}-${question.replicas}${options.engine === true ? '-engine' : ''}`, say);
}

function replayed(options: Options, say: Say): number {
  if (options.trace === undefined)
    throw new UsageError('--trace is missing: the file that formatTrace wrote');
  const replicas = wholeOf('replicas', options.replicas);
  const answer = replay({
    trace: readTrace(options.trace),
    replicas,
    // Replay says why it must be given.
    slots: (options.slots === undefined ? undefined : wholeOf('slots', options.slots)) as number,
    ...(options.speeds !== undefined && { speeds: options.speeds.split(',').map(numberOf) }),
    strategies: strategiesOf(options),
  });
  return report(answer, `replay-${replicas}`, say);
}

/** An empty place is no zero. */
const numberOf = (text: string): number => (text.trim() === '' ? NaN : Number(text));

async function examine(
  experiments: readonly Experiment[],
  { quick = false, only }: Options,
  say: Say,
  command: 'validate' | 'behaviours' | 'mutants',
): Promise<number> {
  const wanted = only === undefined ? undefined : listOf(only);
  const unknown = wanted?.find((id) => !experiments.some((e) => e.id === id));
  if (unknown !== undefined || wanted?.length === 0) {
    throw new UsageError(
      `--only: there is no "${unknown ?? ''}"; there are ${experiments.map((e) => e.id).join(', ')}`,
    );
  }
  const lab: Lab = quick ? QUICK : FULL;
  const verdicts: Verdict[] = [];
  const from = performance.now();
  for (const experiment of experiments) {
    if (wanted !== undefined && !wanted.includes(experiment.id)) continue;
    const verdict = await judge(experiment, lab);
    verdicts.push(verdict);
    say(`${wordOf(verdict).padEnd(7)} ${experiment.id}, ${verdict.seconds.toFixed(1)} s`);
  }
  say(verdictTable(verdicts, SIMULATED));
  say(summaryOf(verdicts, (performance.now() - from) / 1_000, quick));
  // Mutants are always run in the small; of the rest only a full run is worth keeping.
  if (!quick || command === 'mutants') {
    const order = experiments.map(({ id }) => id);
    say(saveVerdicts({ command, order, labels: SIMULATED }, verdicts));
  }
  return verdicts.every(({ ok }) => ok) ? 0 : 1;
}

function summaryOf(verdicts: readonly Verdict[], seconds: number, quick: boolean): string {
  const failed = verdicts.filter(({ ok }) => !ok).map(({ experiment }) => experiment.id);
  const noted = verdicts.flatMap(({ findings }) => findings.filter((f) => !f.ok && f.note !== undefined));
  const small = quick ? ' (quick: a tenth of the requests, 3.2 times the tolerance)' : '';
  const most = noted.length > 0 ? 'the rest holds' : 'all hold';
  const verdict = failed.length > 0 ? `not reproduced: ${failed.join(', ')}` : most;
  const known =
    noted.length === 0
      ? ''
      : `; ${noted.length} ${noted.length === 1 ? 'figure is' : 'figures are'} known to differ`;
  return `${verdicts.length} cases in ${seconds.toFixed(0)} s${small}; ${verdict}${known}`;
}

function report(answer: Comparison, name: string, say: Say): number {
  say(answer.table);
  say(`\n${answer.recommendation}`);
  say(saveComparison(`${name}-seeds-${answer.seeds.join('-')}`, answer));
  return 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  // Who reads only the beginning (`| head`) has had enough.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
  process.exitCode = await main(
    process.argv.slice(2),
    (line) => console.log(line),
    (line) => console.error(line),
  );
}

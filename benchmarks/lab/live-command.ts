import { type Labels, type Verdict, judge, verdictTable } from './experiments.ts';
import { type Experiment, FULL } from './lab.ts';
import { type LiveRow, live, liveTable } from './live.ts';
import { type Options, wholeOf } from './options.ts';
import { saveVerdicts } from './results.ts';
import { UsageError } from './usage-error.ts';

const LABELS: Labels = { expected: 'simulated', measured: 'measured' };

/** `npm run lab -- live`: exit code as that of `main`. */
export async function runLive(options: Options, say: (line: string) => void): Promise<number> {
  const requests = wholeOf('requests', options.requests ?? '1200');
  const repetitions = wholeOf('repetitions', options.repetitions ?? '3');
  const tries = wholeOf('tries', options.tries ?? String(2 * repetitions));
  if (tries < repetitions) {
    throw new UsageError(
      `--tries must be at least --repetitions (${repetitions}), not ${tries}: a try gives each strategy one clean run at most`,
    );
  }
  let rows: readonly LiveRow[] = [];
  let isComplete = false;
  const experiment: Experiment = {
    id: 'live',
    what: 'simulation against real processes',
    async run() {
      const outcome = await live({ requests, repetitions, tries, say });
      ({ rows, isComplete } = outcome);
      return outcome.findings;
    },
  };
  // The seeds say where round robin begins, one a repetition.
  const seeds = Array.from({ length: repetitions }, (_, i) => i + 1);
  const verdicts: readonly Verdict[] = [await judge(experiment, { ...FULL, seeds })];
  say(verdictTable(verdicts, LABELS));
  // A run on a loaded machine is not worth keeping.
  if (isComplete) {
    const more = liveTable(rows);
    const details = { requests, repetitions, strategies: rows };
    say(saveVerdicts({ command: 'live', order: ['live'], labels: LABELS, more, details }, verdicts));
  }
  return verdicts.every(({ ok }) => ok) ? 0 : 1;
}

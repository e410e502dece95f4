import { parseArgs } from 'node:util';
import { UsageError } from './usage-error.ts';

export interface Options {
  readonly help?: boolean | undefined;
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
  readonly slots?: string | undefined;
  readonly speeds?: string | undefined;
  readonly repetitions?: string | undefined;
  readonly tries?: string | undefined;
}

/** What each command takes, beside `--help`. */
const TAKES = {
  validate: ['quick', 'only'],
  behaviours: ['quick', 'only'],
  compare: ['workload', 'replicas', 'strategies', 'clients', 'requests', 'seed', 'engine'],
  live: ['requests', 'repetitions', 'tries'],
  replay: ['trace', 'replicas', 'strategies', 'slots', 'speeds'],
  mutants: ['only'],
} as const satisfies Record<string, readonly (keyof Options)[]>;

export type Command = keyof typeof TAKES;

const SWITCHES: ReadonlySet<keyof Options> = new Set<keyof Options>(['help', 'quick', 'engine']);

/** Throws `UsageError` for what is no command. */
export function commandOf(text: string): Command {
  if (!Object.hasOwn(TAKES, text)) {
    throw new UsageError(`there is no command "${text}"; there are ${Object.keys(TAKES).join(', ')}`);
  }
  return text as Command;
}

/** Throws `UsageError` for an option that the command does not know. */
export function optionsOf(command: Command, args: readonly string[]): Options {
  const names: readonly (keyof Options)[] = ['help', ...TAKES[command]];
  const kinds = names.map((name) => [name, { type: SWITCHES.has(name) ? 'boolean' : 'string' }] as const);
  try {
    return parseArgs({ args: joined(args), options: Object.fromEntries(kinds) }).values;
  } catch (error) {
    throw new UsageError(sentenceOf(error as Error, command, names));
  }
}

/** `--replicas -1` as `--replicas=-1`: a negative number is no option, and what is wrong with it is said later. */
function joined(args: readonly string[]): string[] {
  const result: string[] = [];
  for (const arg of args) {
    const before = result.at(-1);
    if (/^-\d/.test(arg) && before !== undefined && /^--[a-z]+$/.test(before))
      result[result.length - 1] = `${before}=${arg}`;
    else result.push(arg);
  }
  return result;
}

function sentenceOf(error: Error, command: Command, names: readonly string[]): string {
  const { message } = error;
  const [, option] = /'(--?[^\s',<]+)/.exec(message) ?? [];
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION')
    return `${command} takes no ${option}; it takes ${names.map((name) => `--${name}`).join(', ')}`;
  if (code === 'ERR_PARSE_ARGS_INVALID_OPTION_VALUE') {
    const name = option?.slice(2) as keyof Options;
    return SWITCHES.has(name) ? `${option} takes no value` : `${option} needs a value`;
  }
  return message.split('\n')[0]!;
}

export function wholeOf(name: string, text: string | undefined): number {
  if (text === undefined) throw new UsageError(`--${name} is missing`);
  if (!/^\d+$/.test(text) || Number(text) < 1)
    throw new UsageError(`--${name} must be a whole number of at least 1, not "${text}"`);
  return Number(text);
}

export function listOf(text: string): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

export function strategiesOf({ strategies }: Options): string[] {
  if (strategies === undefined)
    throw new UsageError('--strategies is missing, for example --strategies p2c,round-robin');
  return listOf(strategies);
}

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { LAB_SECTIONS } from '../../benchmarks/lab/readme-section.ts';
import { BENCH_SECTIONS } from '../../benchmarks/report/readme-sections.ts';
import { optionsTable } from '../../lib/config/defaults.ts';
import {
  CONNECTION_TRANSITIONS,
  PROCESS_TRANSITIONS,
  type Transition,
} from '../../lib/connection/transitions.ts';
import { degradationTable } from './degradation.ts';
import { ERROR_CODES, type ErrorCode } from '../../lib/core/errors.ts';
import { STRATEGY_NAMES } from '../../lib/routing/strategy-registry.ts';

/** The parts of the README that are drawn from the code and from the kept measurements. */

const README = fileURLToPath(new URL('../../README.md', import.meta.url));

const MEANING: Readonly<Record<ErrorCode, string>> = {
  cancelled: 'the caller aborted',
  deadline_exceeded: 'the time of the whole operation is over',
  unavailable: 'no connection could take it',
  connection_lost: 'the connection ended before the answer; a read may be asked again',
  outcome_unknown:
    'the connection ended before the answer of something that acts: it may have run, and was not run twice',
  circuit_open: 'the breaker of every candidate is open',
  queue_full: 'too much is waiting already',
  rate_limited: 'the server, or a limit towards it, asks for patience',
  not_found: 'no such tool, prompt, resource, server or connection',
  ambiguous_name: 'several servers have it; the error names them',
  invalid_request: 'what the caller gave cannot be asked',
  invalid_response: 'what the server sent breaks the protocol or its own schema',
  limit_exceeded: 'a limit on size, depth, pages or time was passed',
  denied: 'policy says no',
  auth_required: 'credentials are missing or refused',
  protocol_error: 'the server answered with a JSON-RPC error; `data` has its code',
  unsupported: 'the server, or the host, does not offer it',
  affinity_lost: 'the replica that holds the state is gone',
  config_invalid: 'the configuration names something that cannot be; server and field are in the message',
  stopped: 'the engine was stopped',
  internal: 'a defect of ours, or of a callback',
};

/** When a strategy is the right one, and when it is not. */
const STRATEGIES: Readonly<Record<string, readonly [when: string, whenNot: string]>> = {
  'ewma-least-outstanding': [
    'the default: least expected time, finds out who is slow',
    'hundreds of replicas, or many engines that share them',
  ],
  'least-outstanding': ['equal replicas, jobs of unlike length', 'replicas of unlike speed'],
  'weighted-least-outstanding': [
    'replicas whose speeds you know',
    'weights that are guessed: worse than the default',
  ],
  p2c: ['above a hundred replicas, or many engines sharing them', 'a few replicas: a full scan is better'],
  'p2c-peak-ewma': ['the same, with replicas of unlike speed', 'a few replicas'],
  'round-robin': ['equal counts are asked for', 'jobs of unlike length, replicas of unlike speed'],
  'weighted-round-robin': ['equal counts by weight', 'the same'],
  random: ['a baseline to measure against', 'anything else: the worst queueing of all'],
  rendezvous: ['state lives in a replica and must be found again', 'hot keys: it does not look at load'],
  'rendezvous-p2c': [
    'caches in replicas; the default where there is an affinity',
    'state that one replica only has',
  ],
  'bounded-rendezvous': ['as `rendezvous`, with a cap on hot keys', 'state that one replica only has'],
  'priority-failover': ['a standby that should idle', 'sharing load'],
  prequal: [
    'many engines share the replicas, and your `loadReporter` knows their load',
    'without such a reporter: MCP has no way to ask for load',
  ],
};

function strategies(): string {
  const rows = STRATEGY_NAMES.map((name) => {
    const [when, whenNot] = STRATEGIES[name] ?? [];
    if (when === undefined) throw new Error(`say when to use ${name}, and when not, in ${import.meta.url}`);
    return `| \`${name}\` | ${when} | ${whenNot} |`;
  });
  return ['| strategy | when | when not |', '|---|---|---|', ...rows].join('\n');
}

function diagram(transitions: ReadonlyArray<Transition<string>>, first: string, last: string): string {
  const arrows = new Map<string, string[]>();
  for (const { from, event, to } of transitions) {
    const key = `${from} --> ${to}`;
    arrows.set(key, [...(arrows.get(key) ?? []), event]);
  }
  const lines = [...arrows].map(([arrow, events]) => `  ${arrow}: ${events.join(', ')}`);
  return ['```mermaid', 'stateDiagram-v2', `  [*] --> ${first}`, ...lines, `  ${last} --> [*]`, '```'].join(
    '\n',
  );
}

const SECTIONS: Readonly<Record<string, () => string>> = {
  'connection-diagram': () => diagram(CONNECTION_TRANSITIONS, 'Disconnected', 'Disconnected'),
  'process-diagram': () => diagram(PROCESS_TRANSITIONS, 'Created', 'Stopped'),
  'error-codes': () =>
    [
      '| code | meaning |',
      '|---|---|',
      ...ERROR_CODES.map((code) => `| \`${code}\` | ${MEANING[code]} |`),
    ].join('\n'),
  strategies,
  degradation: () => degradationTable().trimEnd(),
  options: () => optionsTable().trimEnd(),
  ...BENCH_SECTIONS,
  ...LAB_SECTIONS,
};

export function drawReadme(text: string): string {
  return text.replaceAll(
    /<!-- generated: ([a-z-]+) -->\n[\s\S]*?<!-- end -->/g,
    (whole: string, name: string) => {
      const section = SECTIONS[name];
      return section === undefined ? whole : `<!-- generated: ${name} -->\n\n${section()}\n\n<!-- end -->`;
    },
  );
}

export interface CodeBlock {
  /** Of its fence. */
  readonly line: number;
  readonly code: string;
  /** Marked with `<!-- run -->`: a program of its own. */
  readonly runs: boolean;
  /** The block of text that follows: what the program writes. */
  readonly output: string | undefined;
}

/** The TypeScript of a document. */
export function codeBlocks(text: string): readonly CodeBlock[] {
  const found = text.matchAll(/(<!-- run -->\n)?^```ts\n([\s\S]*?)^```\n(?:\n```text\n([\s\S]*?)^```$)?/gm);
  return [...found].map((match) => ({
    line: text.slice(0, match.index).split('\n').length + (match[1] === undefined ? 0 : 1),
    code: match[2] ?? '',
    runs: match[1] !== undefined,
    output: match[3],
  }));
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  writeFileSync(README, drawReadme(readFileSync(README, 'utf8')));

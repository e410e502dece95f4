import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { optionsTable } from '../../lib/config/defaults.ts';
import { CONNECTION_TRANSITIONS, PROCESS_TRANSITIONS, type Transition } from '../../lib/connection/transitions.ts';
import { ERROR_CODES, type ErrorCode } from '../../lib/core/errors.ts';

/** The parts of the README that are drawn from the code. */

const README = fileURLToPath(new URL('../../README.md', import.meta.url));

const MEANING: Readonly<Record<ErrorCode, string>> = {
  cancelled: 'the caller aborted',
  deadline_exceeded: 'the time of the whole operation is over',
  unavailable: 'no connection could take it',
  connection_lost: 'the connection ended before the answer; a read may be asked again',
  outcome_unknown: 'the connection ended before the answer of something that acts: it may have run, and was not run twice',
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

function diagram(transitions: ReadonlyArray<Transition<string>>, first: string, last: string): string {
  const arrows = new Map<string, string[]>();
  for (const { from, event, to } of transitions) {
    const key = `${from} --> ${to}`;
    arrows.set(key, [...(arrows.get(key) ?? []), event]);
  }
  const lines = [...arrows].map(([arrow, events]) => `  ${arrow}: ${events.join(', ')}`);
  return ['```mermaid', 'stateDiagram-v2', `  [*] --> ${first}`, ...lines, `  ${last} --> [*]`, '```'].join('\n');
}

const SECTIONS: Readonly<Record<string, () => string>> = {
  'connection-diagram': () => diagram(CONNECTION_TRANSITIONS, 'Disconnected', 'Disconnected'),
  'process-diagram': () => diagram(PROCESS_TRANSITIONS, 'Created', 'Stopped'),
  'error-codes': () =>
    ['| code | meaning |', '|---|---|', ...ERROR_CODES.map((code) => `| \`${code}\` | ${MEANING[code]} |`)].join('\n'),
  options: optionsTable,
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

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(README, drawReadme(readFileSync(README, 'utf8')));

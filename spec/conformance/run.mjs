/**
 * Runs the official MCP conformance suite: `npm run conformance -- client [scenario]`. Prints a table and exits
 * non-zero when a required scenario fails. Each scenario has processes of its own and runs once.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const suite = fileURLToPath(
  new URL('../../node_modules/@modelcontextprotocol/conformance/dist/index.js', import.meta.url),
);

/** Authorization that both revisions require. */
const AUTH = [
  'auth/metadata-default',
  'auth/metadata-var1',
  'auth/metadata-var2',
  'auth/metadata-var3',
  'auth/basic-cimd',
  'auth/scope-from-www-authenticate',
  'auth/scope-from-scopes-supported',
  'auth/scope-omitted-when-undefined',
  'auth/scope-step-up',
  'auth/scope-retry-limit',
  'auth/token-endpoint-auth-basic',
  'auth/token-endpoint-auth-post',
  'auth/token-endpoint-auth-none',
  'auth/pre-registration',
];

/** Extensions, not required, that we pass at both revisions. */
const AUTH_EXTENSIONS = [
  'auth/client-credentials-basic',
  'auth/client-credentials-jwt',
  'auth/enterprise-managed-authorization',
  'auth/dpop',
  'auth/dpop-nonce',
];

/** What a client must pass (conformance 0.2.0-alpha.12), and the extensions. */
const CLIENT = {
  '2025-11-25': [
    'initialize',
    'tools_call',
    'elicitation-sep1034-client-defaults',
    'sse-retry',
    ...AUTH,
    ...AUTH_EXTENSIONS,
  ],
  '2026-07-28': [
    'tools_call',
    'request-metadata',
    'http-standard-headers',
    'http-custom-headers',
    'http-invalid-tool-headers',
    'sep-2322-client-request-state',
    'json-schema-ref-no-deref',
    ...AUTH,
    'auth/resource-mismatch',
    'auth/offline-access-scope',
    'auth/offline-access-not-supported',
    'auth/authorization-server-migration',
    'auth/iss-supported',
    'auth/iss-not-advertised',
    'auth/iss-supported-missing',
    'auth/iss-wrong-issuer',
    'auth/iss-unexpected',
    'auth/iss-normalized',
    'auth/metadata-issuer-mismatch',
    ...AUTH_EXTENSIONS,
  ],
};

const [side, only] = process.argv.slice(2);
if (side !== 'client') {
  console.error('usage: npm run conformance -- client [scenario]');
  process.exit(2);
}

/** Each scenario has its own servers on free ports; two at a time halve the wait and leave a processor for each. */
const AT_ONCE = 2;
/** Measures how long the client waits: nobody else runs meanwhile. */
const ALONE = new Set(['sse-retry']);

/** For a client to finish; the suite's own 30 s are short for two on a busy machine. Milliseconds. */
const CLIENT_MS = 120_000;

const started = performance.now();
const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;
const jobs = Object.entries(CLIENT).flatMap(([revision, scenarios]) =>
  scenarios.filter((s) => only === undefined || s === only).map((scenario) => ({ revision, scenario })),
);
if (jobs.length === 0) {
  console.error(`no scenario "${only}"`);
  process.exit(2);
}
const out = mkdtempSync(join(tmpdir(), 'conformance-'));
let failed = 0;
let told = 0;
try {
  await inTurn(
    jobs.filter(({ scenario }) => ALONE.has(scenario)),
    1,
  );
  await inTurn(
    jobs.filter(({ scenario }) => !ALONE.has(scenario)),
    AT_ONCE,
  );
} finally {
  rmSync(out, { recursive: true, force: true });
}
console.log(
  `${failed === 0 ? 'all required scenarios pass' : `${failed} failed`} (${told} of ${jobs.length} in ${seconds(started)})`,
);
process.exit(failed === 0 && told === jobs.length ? 0 : 1);

/** Each job once: a failure is not tried again. */
async function inTurn(some, atOnce) {
  const waiting = [...some];
  const lane = async () => {
    for (let job = waiting.shift(); job !== undefined; job = waiting.shift()) {
      const began = performance.now();
      const result = await run(job.revision, job.scenario, mkdtempSync(join(out, 'run-')));
      job.result = { ...result, took: seconds(began) };
      tell();
    }
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
}

/** What is done, in the order of the list. */
function tell() {
  for (let job = jobs[told]; job?.result !== undefined; job = jobs[told]) {
    const { code, text, took } = job.result;
    told += 1;
    console.log(`${code === 0 ? 'pass' : 'FAIL'}  ${job.revision}  ${job.scenario}  ${took}`);
    if (code === 0) continue;
    failed += 1;
    console.log(text.trimEnd().replace(/^/gm, '      '));
  }
}

function run(revision, scenario, folder) {
  return new Promise((resolve) => {
    const command = `"${process.execPath}" "${join(here, 'client.mjs')}"`;
    const args = ['--import', join(here, 'fs-shim.mjs'), suite, 'client', '--command', command];
    const child = spawn(
      process.execPath,
      [
        ...args,
        '--scenario',
        scenario,
        '--spec-version',
        revision,
        '--timeout',
        String(CLIENT_MS),
        '-o',
        folder,
      ],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    let text = '';
    child.stdout.on('data', (data) => (text += data));
    child.stderr.on('data', (data) => (text += data));
    child.once('error', (error) => resolve({ code: 1, text: String(error) }));
    child.on('close', (code) => resolve({ code: code ?? 1, text }));
  });
}

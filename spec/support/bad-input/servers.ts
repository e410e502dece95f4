import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ServerConfig } from '../../../lib/config/config.ts';
import { isCall, json, type Fault } from '../bad-http.ts';
import { stdio } from '../engines.ts';
import type { BadInput, Bench } from './case.ts';

/** Why the server could not be opened. */
async function opening(bench: Bench, server: ServerConfig): Promise<unknown> {
  const engine = bench.engine({
    servers: { bad: { startTimeoutMs: 3_000, restart: { baseMs: 60_000, capMs: 60_000 }, ...server } },
  });
  return (await engine.start()).connections[0]?.error;
}

const web = async (bench: Bench, fault: Fault): Promise<ServerConfig> => ({
  url: `${await bench.http(fault)}?key=${bench.secrets.query}`,
  type: 'http',
  headers: { 'x-api-key': bench.secrets.header, authorization: `Bearer ${bench.secrets.bearer}` },
});

/** What a call meets. */
const calling =
  (fault: Fault): BadInput['run'] =>
  async (bench) => {
    const engine = bench.engine({
      servers: {
        bad: { ...(await web(bench, (m, r, q) => isCall(m, 'fail') && fault(m, r, q))), breaker: false },
      },
    });
    await engine.start();
    return engine.callTool('bad__fail', {}, { timeoutMs: 5_000 });
  };

const status =
  (code: number, headers: Record<string, string> = {}): Fault =>
  (_message, response, request) =>
    // It says again what it was told, as proxies and frameworks do.
    Boolean(
      response
        .writeHead(code, { 'content-type': 'text/plain', ...headers })
        .end(JSON.stringify(request.headers)),
    );

const program = (bench: Bench, mode: string): ServerConfig => {
  const { command, args } = stdio(mode, 3) as { command: string; args: readonly string[] };
  return {
    command,
    args: [...args, '--token', bench.secrets.argument],
    env: { API_TOKEN: bench.secrets.env },
  };
};

/** A program that shows on stderr and in its answer whatever it was given, and ends. */
const TELLER = `process.stderr.write(JSON.stringify([process.argv, process.env]) + '\\n'); process.exit(3);`;

const at = (name: string, code: BadInput['code'], says: RegExp, run: BadInput['run']): BadInput => ({
  name: `a server ${name}`,
  code,
  says,
  server: 'bad',
  run,
});

export const SERVER_CASES: readonly BadInput[] = [
  at('has no program', 'unavailable', /could not be started/, (b) =>
    opening(b, { command: 'no-such-program-anywhere', args: ['--token', b.secrets.argument] }),
  ),
  at('may not be executed', 'unavailable', /may not be executed/, (b) => {
    const command = join(b.directory(), 'server');
    writeFileSync(command, 'no program');
    chmodSync(command, 0o600);
    return opening(b, { command });
  }),
  at('exits at once', 'connection_lost', /code 3/, (b) => opening(b, program(b, 'exit'))),
  at('says on stderr all that it knows', 'connection_lost', /code 3/, (b) =>
    opening(b, {
      command: process.execPath,
      args: ['-e', TELLER, '--', '--token', b.secrets.argument],
      env: { API_TOKEN: b.secrets.env },
    }),
  ),
  at('speaks a version that nobody knows', 'unsupported', /1999-12-31/, (b) =>
    opening(b, program(b, 'old-version')),
  ),
  at('never answers', 'deadline_exceeded', /0\.5 s/, (b) =>
    opening(b, { ...program(b, 'silent'), startTimeoutMs: 500 }),
  ),
  at('is not there', 'unavailable', /ECONNREFUSED|refused/i, (b) =>
    opening(b, { url: `http://user:${b.secrets.userinfo}@127.0.0.1:1/mcp?key=${b.secrets.query}` }),
  ),
  at('is not there (WebSocket)', 'unavailable', /ECONNREFUSED|refused/i, (b) =>
    opening(b, {
      url: `ws://127.0.0.1:1/mcp?key=${b.secrets.query}`,
      type: 'ws',
      headers: { 'x-api-key': b.secrets.header },
    }),
  ),
  at('is not there (HTTP+SSE)', 'unavailable', /ECONNREFUSED|refused/i, (b) =>
    opening(b, {
      url: `http://127.0.0.1:1/sse?key=${b.secrets.query}`,
      type: 'sse',
      headers: { 'x-api-key': b.secrets.header },
    }),
  ),
  at('has no such page', 'protocol_error', /404/, async (b) => opening(b, await web(b, status(404)))),
  at('forbids everything', ['auth_required', 'denied'], /403/, async (b) =>
    opening(b, await web(b, status(403))),
  ),
  at('is out of order', 'unavailable', /503/, async (b) => opening(b, await web(b, status(503)))),
  at('answers with a page for people', 'invalid_response', /text\/html/, async (b) =>
    opening(b, await web(b, status(200, { 'content-type': 'text/html' }))),
  ),
  at('only accepts', 'invalid_response', /202/, async (b) => opening(b, await web(b, status(202)))),
  at('sends people elsewhere', 'protocol_error', /redirect|307/i, async (b) =>
    opening(b, await web(b, status(307, { location: `https://elsewhere.example/?key=${b.secrets.query}` }))),
  ),
  at('fails a call with 500', 'outcome_unknown', /500/, calling(status(500))),
  at('fails a call with 429', 'rate_limited', /429/, calling(status(429, { 'retry-after': '7' }))),
  at(
    'answers a call with another id',
    'invalid_response',
    /without|id|answer/,
    calling((_m, response) => {
      json(response, { jsonrpc: '2.0', id: 'other', result: {} });
      return true;
    }),
  ),
  at(
    'answers a call with an error that repeats the headers',
    'protocol_error',
    /you sent/,
    calling((message, response, request) => {
      json(response, {
        jsonrpc: '2.0',
        id: message['id'],
        error: {
          code: -32000,
          message: `you sent ${JSON.stringify(request.headers)} to ${request.url}`,
          data: request.headers,
        },
      });
      return true;
    }),
  ),
  at(
    'breaks off in the middle of an answer',
    'outcome_unknown',
    /cut|closed|terminated|socket|lost|ended/i,
    calling((_message, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).write('{"jsonrpc":"2.0",');
      setImmediate(() => response.destroy());
      return true;
    }),
  ),
];

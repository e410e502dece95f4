/**
 * `node stdio.mjs NAME REVISION [grandchild]`: the mini server on stdin and stdout, until the soak tells it to do wrong.
 * Not a fault of its own making: kill -9, SIGSTOP and SIGCONT, which come from outside.
 */
import { spawn } from 'node:child_process';
import { closeSync, writeSync } from 'node:fs';
import { createMiniServer } from '../../../spec/support/mini-server.mjs';
import { control, executed, seeded } from './control.mjs';

const [name = 'stdio', revision = '2025-11-25', family] = process.argv.slice(2);
// Holds our pipes and ends for nothing but SIGKILL: whoever ends us has to end it too.
if (family === 'grandchild')
  spawn('sh', ['-c', 'trap "" TERM HUP; while :; do sleep 60; done'], { stdio: 'inherit' });

const BIG = 'x'.repeat(12 * 1024 * 1024);
const random = seeded(process.pid);
let mute = false;
const write = (text) => {
  if (!mute) process.stdout.write(text);
};
const say = (message) => write(`${JSON.stringify(message)}\n`);

const GARBAGE = [
  'Debugger listening on ws://127.0.0.1:9229\n',
  '{"jsonrpc":"2.0","id":\n',
  '\u0000\u001b[31m\uFFFD\n',
  '[]\n',
  '"text"\n',
  'null\n',
  '{"jsonrpc":"1.0","id":"t1","result":{}}\n',
  '{"jsonrpc":"2.0","id":{"a":1},"result":{}}\n',
  '{"jsonrpc":"2.0"}\n',
  `${'['.repeat(5_000)}\n`,
];

/** What happens at once, without a call. */
const begin = (kind) => {
  switch (kind) {
    case 'notification flood': {
      const line = `${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'x'.repeat(64) } })}\n`;
      for (let i = 0; i < 200; i += 1) write(line.repeat(100));
      faults.hit();
      break;
    }
    case 'list_changed storm':
      for (let i = 0; i < 500; i += 1) say({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' });
      faults.hit();
      break;
    case 'stdout close':
      mute = true;
      closeSync(1);
      faults.hit();
      break;
    case 'stderr flood':
      for (let i = 0; i < 80; i += 1) process.stderr.write(`${'e'.repeat(65_535)}\n`);
      faults.hit();
      break;
    case 'not reading stdin':
      process.stdin.pause();
      faults.hit();
      break;
  }
};
const end = (kind) => {
  if (kind === 'not reading stdin') process.stdin.resume();
};
const faults = control(name, {}, { begin, end, once: new Set(['exit mid-reply', '12 MB reply']) });

/** Answers of calls that meet a fault. */
function answerWith(kind, message) {
  const line = `${JSON.stringify(message)}\n`;
  switch (kind) {
    case 'exit mid-reply':
      faults.last(kind);
      // The socket hands over at the end of this turn.
      setImmediate(() => {
        try {
          writeSync(1, line.slice(0, line.length / 2));
        } finally {
          // The pipe may be full: then not even half of it is heard.
          process.exit(3);
        }
      });
      break;
    case 'latency':
      setTimeout(write, random() * 2_000, line);
      break;
    case 'garbage':
      write(GARBAGE[Math.floor(random() * GARBAGE.length)]);
      write(line);
      break;
    case 'partial line':
      if (random() < 0.3) {
        // The half is all there ever is of it.
        write(`${line.slice(0, line.length / 2)}\n`);
        break;
      }
      // The rest comes later, and nothing in between.
      write(line.slice(0, line.length / 2));
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20 + random() * 100);
      write(line.slice(line.length / 2));
      break;
    case 'duplicate':
      write(line + line);
      break;
    case 'wrong id':
      for (const id of [`${message.id}0`, 1, -1, null, 'never-asked']) {
        say({ ...message, id, result: { content: [{ type: 'text', text: 'not yours' }] } });
      }
      write(line);
      break;
    case '12 MB reply':
      say({ ...message, result: { ...message.result, padding: BIG } });
      break;
    case 'lost reply':
      break;
    default:
      write(line);
      return;
  }
  faults.hit();
}

const server = createMiniServer({ revision, push: say });
function take(message) {
  if (message.method !== 'tools/call') return server.receive(message, say);
  const kind = faults.fault(message.params.arguments.message);
  if (kind === 'hang') {
    faults.hit();
    return undefined;
  }
  executed(message.params.arguments.message);
  return server.receive(message, (out) => answerWith(kind, out));
}

let rest = '';
process.stdin.setEncoding('utf8');
process.stdin.on('data', (chunk) => {
  const lines = (rest + chunk).split('\n');
  rest = lines.pop();
  for (const line of lines) if (line !== '') void take(JSON.parse(line));
});
process.stdin.on('end', () => process.exit(0));
process.stdout.on('error', () => {
  mute = true;
});

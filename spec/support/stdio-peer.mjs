/**
 * `node stdio-peer.mjs MODE [argument]`: a server of which each mode does one thing wrong. Requests it reads it answers
 * with their own params, unless the mode says otherwise.
 */
import { spawn } from 'node:child_process';
import { closeSync, readSync, writeSync } from 'node:fs';

const [mode = 'echo', argument = ''] = process.argv.slice(2);
const say = (message) => {
  writeSync(1, `${JSON.stringify(message)}\n`);
};
const tell = (method, params) => {
  say({ jsonrpc: '2.0', method: `notifications/${method}`, params });
};
const live = () => setInterval(() => {}, 60_000);
const answer = ({ id, params = {} }) => {
  say({ jsonrpc: '2.0', id, result: params });
};

/** Ends at the end of stdin, as a server should; then with code 0. */
function serve(reply = answer) {
  // Not with `readline`: since Node 24 it also ends lines at U+2028, which JSON may hold as it is.
  let rest = '';
  process.stdin.setEncoding('utf8').on('data', (chunk) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const { id, params } = JSON.parse(line);
      if (id !== undefined) reply({ id, params });
    }
  });
}

/** A child in the same group that ends for nothing but SIGKILL. It holds our stdout and stderr open if told to. */
function stubborn(stdio, detached = false) {
  const child = spawn(
    process.execPath,
    [
      '-e',
      "process.on('SIGTERM',()=>{});process.on('SIGHUP',()=>{});setInterval(()=>{},60000);process.send('up')",
    ],
    { stdio: [...stdio, 'ipc'], detached },
  );
  child.once('message', () => {
    child.disconnect();
    child.unref();
    tell('child', { pid: child.pid });
  });
}

const modes = {
  echo: () => serve(),
  argv: () => {
    tell('argv', { argv: process.argv.slice(3), cwd: process.cwd(), env: { ...process.env } });
    serve();
  },
  exit: () => {
    writeSync(2, 'loading\nfatal: no configuration found\n');
    process.exit(Number(argument));
  },
  'ignore-eof': () => {
    live();
    tell('ready', {});
    serve();
  },
  'ignore-all': () => {
    process.on('SIGTERM', () => {
      tell('sigterm', {});
    });
    live();
    tell('ready', {});
    serve();
  },
  'quiet-child': () => {
    stubborn(['ignore', 'ignore', 'ignore']);
    serve();
  },
  'pipe-holding-child': () => {
    stubborn(['ignore', 'inherit', 'inherit']);
    serve(({ params }) => {
      process.exit(params?.code ?? 0);
    });
  },
  'child-of-another-group': () => {
    stubborn(['ignore', 'ignore', 'ignore'], true);
    serve();
  },
  stderr: () => {
    const line = `${'e'.repeat(99)}\n`;
    for (let written = 0; written < Number(argument); written += line.length) writeSync(2, line);
    writeSync(2, 'the last line\n');
    serve();
  },
  big: () => {
    const text = 'x'.repeat(Number(argument));
    serve(({ id, params }) => {
      const small = params?.small === true;
      process.stdout.write(
        `${JSON.stringify({ result: { text: small ? '' : text }, jsonrpc: '2.0', id })}\n`,
      );
    });
  },
  'close-stdout': () => {
    live();
    serve(() => {
      process.stdout.destroy();
      closeSync(1);
    });
  },
  'close-stdin': () => {
    live();
    closeSync(0);
    tell('ready', {});
  },
  deaf: () => {
    live();
    tell('ready', {});
  },
  'deaf-for-a-while': () => {
    // Reads nothing until it is told to by a signal, then everything.
    live();
    process.once('SIGUSR2', () => serve());
    tell('ready', {});
  },
  partial: () =>
    serve(({ id }) => {
      writeSync(1, `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":{"text":"ha`);
      process.exit(3);
    }),
  'last-words': () =>
    serve(({ id }) => {
      writeSync(2, 'bye\n');
      writeSync(1, `${JSON.stringify({ jsonrpc: '2.0', id, result: { text: 'z'.repeat(30_000) } })}\n`);
      process.kill(process.pid, 'SIGKILL');
    }),
  garbage: () => {
    writeSync(1, 'Server v1.2 starting…\n\u001b[32mready\u001b[0m\n\n{"half":\n\r\n');
    writeSync(1, Buffer.from([0xff, 0xfe, 0x0a]));
    serve();
  },
  crlf: () =>
    serve(({ id, params }) => {
      writeSync(1, `${JSON.stringify({ jsonrpc: '2.0', id, result: params })}\r\n`);
    }),
  'count-reads': () => {
    // Answers every request with the number of read calls and lines so far.
    const buffer = Buffer.alloc(1 << 20);
    let reads = 0;
    let lines = 0;
    let rest = '';
    for (;;) {
      const size = readSync(0, buffer);
      if (size === 0) process.exit(0);
      reads += 1;
      const parts = (rest + buffer.toString('utf8', 0, size)).split('\n');
      rest = parts.pop();
      for (const part of parts) {
        lines += 1;
        answer({ id: JSON.parse(part).id, params: { reads, lines } });
      }
    }
  },
};

modes[mode]();

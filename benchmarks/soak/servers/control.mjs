/**
 * What the soak tells a server to do wrong, and what the server tells back. One line of JSON per message over a socket
 * of its own, so that faults of the protocol's way do not touch it. `SOAK_CONTROL` is the port, `SOAK_LOG` the file that
 * gets a line for every execution: written before the answer, so that it outlives a kill -9. Beside it stands a file with
 * a line for every call that meets a fault by chance, written before the fault.
 */
import { openSync, writeSync } from 'node:fs';
import { connect } from 'node:net';

const { SOAK_CONTROL, SOAK_LOG } = process.env;
const executions = SOAK_LOG === undefined ? undefined : openSync(SOAK_LOG, 'a');
const faults = SOAK_LOG === undefined ? undefined : openSync(`${SOAK_LOG}.faults`, 'a');

/** Notes that the call with this nonce ran. */
export function executed(nonce) {
  if (executions !== undefined) writeSync(executions, `${nonce}\n`);
}

/**
 * Connects server `name`. `begin(kind)` and `end(kind)` are told when a timed fault starts and stops; `fault()` is the
 * fault that a call meets: the timed one, or by chance one of the chaos kinds.
 */
export function control(name, facts, { begin = () => {}, end = () => {}, once = new Set() } = {}) {
  const socket = connect({ host: '127.0.0.1', port: Number(SOAK_CONTROL) });
  socket.unref();
  socket.on('error', () => {});
  let timed;
  let hits = 0;
  let chaos = { share: 0, kinds: [], random: Math.random };
  const tell = (message) => socket.write(`${JSON.stringify(message)}\n`);
  tell({ hello: name, pid: process.pid, ...facts });

  const finish = () => {
    if (timed === undefined) return;
    const { kind } = timed;
    clearTimeout(timed.timer);
    timed = undefined;
    end(kind);
    tell({ done: kind, hits });
  };
  let rest = '';
  socket.setEncoding('utf8');
  socket.on('data', (chunk) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      const { fault, ms, share, kinds, seed } = JSON.parse(line);
      if (share !== undefined) chaos = { share, kinds, random: seeded(seed) };
      if (fault === undefined) continue;
      finish();
      hits = 0;
      timed = { kind: fault, timer: setTimeout(finish, ms) };
      begin(fault);
    }
  });

  return {
    /** The fault that the call with this nonce meets; undefined for none. */
    fault(nonce) {
      if (timed !== undefined) return timed.kind;
      if (chaos.share > 0 && chaos.random() < chaos.share) {
        if (faults !== undefined) writeSync(faults, `${nonce}\n`);
        return chaos.kinds[Math.floor(chaos.random() * chaos.kinds.length)];
      }
      return undefined;
    },
    /** The fault has taken effect. One that shall happen once per order ends here. */
    hit() {
      hits += 1;
      if (timed !== undefined && once.has(timed.kind)) finish();
    },
    /** Said at once, before the process ends: what is written to the socket outlives it. */
    last(kind) {
      tell({ done: kind, hits: 1 });
    },
  };
}

/** mulberry32: the same faults for the same seed. */
export function seeded(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

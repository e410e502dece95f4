/**
 * Preloaded (`node --import`) into a server that only knows fixed ports: it listens on a free port of 127.0.0.1 instead
 * and writes `listening PORT` to stdout.
 */
import { Server } from 'node:net';

const { listen } = Server.prototype;

Server.prototype.listen = function listenOnLoopback(...args) {
  const callback = args.find((arg) => typeof arg === 'function');
  this.once('listening', () => {
    process.stdout.write(`listening ${String(this.address().port)}\n`);
  });
  // oxlint-disable-next-line typescript/no-unsafe-return -- a plain script has no type for `this`
  return listen.call(this, 0, '127.0.0.1', callback);
};

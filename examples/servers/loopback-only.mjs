/**
 * Preloaded into demonstration servers that would listen on every interface: they listen on loopback only, and say on
 * stderr where.
 */
import net from 'node:net';

const { listen } = net.Server.prototype;
net.Server.prototype.listen = function listenOnLoopback(port, ...rest) {
  this.once('listening', () => process.stderr.write(`listening on port ${this.address().port}\n`));
  const callback = rest.find((argument) => typeof argument === 'function');
  return listen.call(this, { port: Number(port), host: '127.0.0.1' }, callback);
};

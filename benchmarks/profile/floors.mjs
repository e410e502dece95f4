/**
 * What a call over HTTP costs before anybody has been a client: bounds, not finished products. Neither reads a header
 * of the answer that it does not need, ends on an error, or gives up on a server that is silent.
 */
import net from 'node:net';
import { Pool } from 'undici';

/** As many sockets as the engine opens to one server. */
const SOCKETS = 256;
const ACCEPT = 'application/json, text/event-stream';

let next = 1;
const bodyOf = (args) =>
  JSON.stringify({
    jsonrpc: '2.0',
    id: next++,
    method: 'tools/call',
    params: { name: 'echo', arguments: args },
  });

/** undici's lowest door, with a handler that keeps the body and nothing else. */
function dispatch(url) {
  const { origin, pathname: path } = new URL(url);
  const pool = new Pool(origin, { connections: SOCKETS, headersTimeout: 0, bodyTimeout: 0 });
  const headers = ['content-type', 'application/json', 'accept', ACCEPT];
  class Answer {
    constructor(resolve, reject) {
      this.resolve = resolve;
      this.reject = reject;
      this.body = '';
    }
    onRequestStart() {}
    onResponseStart() {}
    onResponseData(_, piece) {
      this.body += piece.latin1Slice(0, piece.length);
    }
    onResponseEnd() {
      this.resolve(JSON.parse(this.body).result);
    }
    onResponseError(_, error) {
      this.reject(error);
    }
  }
  return {
    call: (args) =>
      new Promise((resolve, reject) => {
        pool.dispatch(
          { origin, path, method: 'POST', headers, body: Buffer.from(bodyOf(args)) },
          new Answer(resolve, reject),
        );
      }),
    close: () => pool.destroy(),
  };
}

/** A socket, one string written, one string read: what the kernel and Node take. */
function socket(url) {
  const { host, hostname, port, pathname } = new URL(url);
  const head = `POST ${pathname} HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\naccept: ${ACCEPT}\r\ncontent-length: `;
  const free = [];
  const all = [];
  const connect = () => {
    const opened = { socket: net.connect({ host: hostname, port: Number(port), noDelay: true }), text: '' };
    all.push(opened);
    opened.socket.on('data', (piece) => {
      opened.text += piece.latin1Slice(0, piece.length);
      const body = bodyIn(opened.text);
      if (body === undefined) return;
      opened.text = '';
      free.push(opened);
      opened.resolve(JSON.parse(body).result);
    });
    opened.socket.on('error', (error) => opened.reject(error));
    return opened;
  };
  return {
    call: (args) =>
      new Promise((resolve, reject) => {
        const used = free.pop() ?? connect();
        used.resolve = resolve;
        used.reject = reject;
        const body = bodyOf(args);
        used.socket.write(`${head}${Buffer.byteLength(body)}\r\n\r\n${body}`);
      }),
    close() {
      for (const opened of all) opened.socket.destroy();
    },
  };
}

/** The body of an answer with `content-length`, once it is whole. */
function bodyIn(text) {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const length = /\r\ncontent-length: (\d+)/i.exec(text);
  if (length === null) throw new Error(`the peer is to say how long its answers are: ${text.slice(0, end)}`);
  return text.length < end + 4 + Number(length[1]) ? undefined : text.slice(end + 4);
}

export const FLOORS = { dispatch, socket };

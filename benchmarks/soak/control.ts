import { createServer, type AddressInfo, type Socket } from 'node:net';

/** What a server tells over its control socket. */
interface Told {
  readonly hello?: string;
  readonly pid?: number;
  readonly port?: number;
  readonly done?: string;
  readonly hits?: number;
}

interface Peer {
  readonly name: string;
  readonly pid: number;
  readonly port: number | undefined;
  readonly socket: Socket;
  told: (told: Told) => void;
}

/** The other way to the servers: orders go out, what they did comes back, and the end of a process is seen at once. */
export interface Control {
  readonly port: number;
  peer(name: string): { readonly pid: number; readonly port: number | undefined } | undefined;
  /** Resolves once each of them has said hello. */
  present(names: readonly string[]): Promise<void>;
  send(name: string, order: Readonly<Record<string, unknown>>): void;
  /** Orders a timed fault; resolves with the number of times it took effect. A server that ends counts what it said. */
  fault(name: string, kind: string, ms: number): Promise<number>;
  /** Called when the process of a server is gone. */
  onGone: (name: string) => void;
  close(): Promise<void>;
}

/** An order that nobody answers is given up after this, milliseconds beyond its own time. */
const PATIENCE_MS = 5_000;

export async function openControl(): Promise<Control> {
  const peers = new Map<string, Peer>();
  const sockets = new Set<Socket>();
  const waiting = new Set<() => void>();

  const server = createServer((socket) => {
    sockets.add(socket);
    let peer: Peer | undefined;
    let rest = '';
    socket.setEncoding('utf8');
    socket.on('error', () => {});
    socket.on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const told = JSON.parse(line) as Told;
        if (told.hello === undefined) {
          peer?.told(told);
          continue;
        }
        peer = { name: told.hello, pid: told.pid ?? 0, port: told.port, socket, told: () => {} };
        peers.set(peer.name, peer);
        for (const look of waiting) look();
      }
    });
    socket.on('close', () => {
      sockets.delete(socket);
      if (peer === undefined) return;
      if (peers.get(peer.name) === peer) peers.delete(peer.name);
      peer.told({ done: 'gone' });
      control.onGone(peer.name);
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });

  const send = (name: string, order: Readonly<Record<string, unknown>>): void => {
    peers.get(name)?.socket.write(`${JSON.stringify(order)}\n`);
  };
  const answerOf = (name: string, order: Readonly<Record<string, unknown>>, ms: number): Promise<Told> =>
    new Promise((resolve) => {
      const peer = peers.get(name);
      if (peer === undefined) {
        resolve({});
        return;
      }
      const timer = setTimeout(resolve, ms + PATIENCE_MS, {});
      peer.told = (told) => {
        clearTimeout(timer);
        peer.told = () => {};
        resolve(told);
      };
      send(name, order);
    });

  const control: Control = {
    port: (server.address() as AddressInfo).port,
    peer: (name) => peers.get(name),
    present: (names) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (!names.every((name) => peers.has(name))) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
      }),
    send,
    fault: async (name, kind, ms) => (await answerOf(name, { fault: kind, ms }, ms)).hits ?? 0,
    onGone: () => {},
    async close() {
      control.onGone = () => {};
      const closed = new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
  return control;
}

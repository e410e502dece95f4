import { reply } from '../../support/wire-server.mjs';

/**
 * A transport of the MCP SDK and the server behind it: every request is answered before `send` returns, nothing is
 * serialised. What a client costs over it is the client's own.
 */
export function memoryPeer() {
  const transport = {
    onmessage: undefined,
    onclose: undefined,
    onerror: undefined,
    answered: 0,
    start: () => DONE,
    send(message) {
      if (message.id === undefined || message.method === undefined) return DONE;
      if (message.method === 'tools/call') transport.answered += 1;
      transport.onmessage?.(reply(message));
      return DONE;
    },
    close() {
      transport.onclose?.();
      return DONE;
    },
  };
  return transport;
}

const DONE = Promise.resolve();

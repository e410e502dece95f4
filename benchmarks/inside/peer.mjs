import { reply, toolList } from '../support/wire-server.mjs';

const RESOURCES = ['a', 'b'].map((name) => ({ name, uri: `file:///${name}` }));

/**
 * A server in this process behind a transport of the MCP SDK: answers before `send` returns, lists `tools` tools, reads
 * any resource, and counts what it is asked. With `holding` it lists its tools only once it is told to `letGo`.
 */
export function insidePeer({ tools = 1, holding = false } = {}) {
  let list = toolList(tools);
  const asked = {};
  const held = [];
  const answer = (message) => {
    asked[message.method] = (asked[message.method] ?? 0) + 1;
    if (message.method === 'tools/list') return { jsonrpc: '2.0', id: message.id, result: { tools: list } };
    if (message.method === 'resources/list')
      return { jsonrpc: '2.0', id: message.id, result: { resources: RESOURCES } };
    if (message.method === 'resources/read')
      return {
        jsonrpc: '2.0',
        id: message.id,
        result: { contents: [{ uri: message.params.uri, text: 'x'.repeat(100) }] },
      };
    if (message.method === 'initialize') {
      const { result } = reply(message);
      const capabilities = { tools: { listChanged: true }, resources: {} };
      return { jsonrpc: '2.0', id: message.id, result: { ...result, capabilities } };
    }
    return reply(message);
  };
  const peer = {
    asked,
    transport() {
      peer.wire = {
        start: () => Promise.resolve(),
        send(message) {
          if (message.id !== undefined && message.method !== undefined) {
            const answered = answer(message);
            if (holding && message.method === 'tools/list') held.push(answered);
            else peer.wire.onmessage?.(answered);
          }
          return Promise.resolve();
        },
        close() {
          peer.wire.onclose?.();
          return Promise.resolve();
        },
      };
      return peer.wire;
    },
    letGo() {
      holding = false;
      for (const answered of held.splice(0)) peer.wire.onmessage?.(answered);
    },
    /** Another list, and the notification of it. */
    change() {
      list = list.map((tool, i) => (i === list.length - 1 ? { ...tool, name: `${tool.name}_new` } : tool));
      peer.wire.onmessage?.({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' });
    },
  };
  return peer;
}

export function peersOf(count, settings) {
  const peers = Array.from({ length: count }, () => insidePeer(settings));
  return {
    peers,
    servers: Object.fromEntries(peers.map((peer, i) => [`s${i}`, { transport: () => peer.transport() }])),
  };
}

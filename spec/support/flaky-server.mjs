/**
 * A server whose runs can be counted and whose faults can be ordered, as protocol logic without a transport; hosts of it
 * are `flaky-stdio.mjs` and `flaky-http.mjs`. What it does not do itself the mini server does.
 *
 * Its tools `look` (changes nothing), `set` (idempotent) and `act` (neither) take `{ nonce, ms, end }`: a run is told
 * to `ran` before anything else happens, takes `ms`, and ends as `end` says: `answer`, `fail`, `error`, `hang` or `die`.
 * `count` remembers how often it was called: the state of a legacy session.
 */
import { MODERN, createMiniServer } from './mini-server.mjs';

const META = 'io.modelcontextprotocol/';
const INPUT = { type: 'object', properties: { nonce: { type: 'string' } } };

export const TOOLS = [
  { name: 'look', inputSchema: INPUT, annotations: { readOnlyHint: true } },
  { name: 'set', inputSchema: INPUT, annotations: { idempotentHint: true } },
  { name: 'act', inputSchema: INPUT },
  { name: 'count', inputSchema: { type: 'object' } },
];

export function createFlakyServer({
  revision,
  push,
  name = 'flaky',
  tools = TOOLS,
  ran = () => {},
  cancelled = () => {},
  die = () => {},
  /** What to do instead of answering: `{ result }`, `{ error }`, `{ hang: true }`, `{ ms }`; undefined: nothing. */
  order = async () => undefined,
  /** Fields added to what is read. */
  hints = () => ({}),
}) {
  const modern = revision >= MODERN;
  const mini = createMiniServer({ revision, push, instance: name });
  const running = new Map();
  const listeners = new Map();
  let counted = 0;
  let reads = 0;

  const complete = (result) => (modern ? { resultType: 'complete', ...result } : result);
  const cacheable = (result) => complete(modern ? { ttlMs: 0, cacheScope: 'private', ...result } : result);
  const text = (value) => complete({ content: [{ type: 'text', text: String(value) }] });

  async function run(run, { name: tool, arguments: args = {} }) {
    const { nonce = '', ms = 0, end = 'answer' } = args;
    run.nonce = nonce;
    ran(tool, nonce);
    if (end === 'die') return die();
    if (end === 'hang') return undefined;
    if (ms > 0) await wait(ms);
    if (end === 'error') throw Object.assign(new Error('it broke'), { code: -32603 });
    if (end === 'fail') return complete({ isError: true, content: [{ type: 'text', text: 'it failed' }] });
    return text(`${tool} ${nonce} by ${name}`);
  }

  async function answer(message, entry, out) {
    const { method, params = {} } = message;
    switch (method) {
      case 'tools/list':
        return cacheable({ tools: typeof tools === 'function' ? tools() : tools });
      case 'tools/call':
        if (params.name === 'count') return text(++counted);
        return TOOLS.some((tool) => tool.name === params.name) ? run(entry, params) : DEFER;
      case 'resources/list':
        return cacheable({ resources: [{ uri: 'mini://a', name: 'a' }], ...hints(message) });
      case 'resources/read':
        reads += 1;
        return cacheable({ contents: [{ uri: params.uri, text: `${name} ${reads}` }], ...hints(message) });
      case 'subscriptions/listen':
        listeners.set(message.id, { filter: params.notifications, out });
        out({
          jsonrpc: '2.0',
          method: 'notifications/subscriptions/acknowledged',
          params: { notifications: params.notifications, _meta: { [`${META}subscriptionId`]: message.id } },
        });
        return undefined;
      default:
        return DEFER;
    }
  }

  return {
    modern,
    get listening() {
      return listeners.size;
    },
    /** Resolves when the request of this message, if it is one, was answered or never will be. */
    async receive(message, out) {
      if (message.method === 'notifications/cancelled') this.cancel(message.params.requestId);
      if (message.method === undefined || message.id === undefined) return mini.receive(message, out);
      const entry = { stop: false, nonce: '' };
      running.set(message.id, entry);
      const respond = (body) => entry.stop || out({ jsonrpc: '2.0', id: message.id, ...body }, true);
      try {
        const ordered = await order(message);
        if (ordered?.hang === true) return undefined;
        if (ordered?.ms !== undefined) await wait(ordered.ms);
        if (ordered?.error !== undefined) return respond({ error: ordered.error });
        if (ordered?.result !== undefined) return respond({ result: complete(ordered.result) });
        const result = await answer(message, entry, out);
        if (result === DEFER)
          return await mini.receive(message, (body, final) => entry.stop || out(body, final));
        if (result !== undefined) respond({ result });
      } catch (error) {
        respond({ error: { code: error.code ?? -32603, message: error.message } });
      }
      return undefined;
    },
    cancel(id) {
      listeners.delete(id);
      mini.cancel(id);
      const entry = running.get(id);
      if (entry === undefined || entry.stop) return;
      entry.stop = true;
      cancelled(entry.nonce);
    },
    /** Tells of a change in the way of the era. */
    changed(method, params = {}) {
      if (!modern) return push({ jsonrpc: '2.0', method, params });
      for (const [id, { filter, out }] of listeners) {
        const wanted =
          (method === 'notifications/tools/list_changed' && filter.toolsListChanged) ||
          (method === 'notifications/resources/list_changed' && filter.resourcesListChanged) ||
          (method === 'notifications/resources/updated' &&
            filter.resourceSubscriptions?.includes(params.uri));
        if (wanted)
          out({ jsonrpc: '2.0', method, params: { ...params, _meta: { [`${META}subscriptionId`]: id } } });
      }
      return undefined;
    },
  };
}

const DEFER = Symbol('the mini server answers');

function wait(ms) {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

/**
 * A server that lies, without a transport: what it does wrong is chosen by the arguments of its tool `act`, what it
 * lists and how it opens by `mode`. `io` is the way back, one for each message:
 *
 * `say(message)` one message · `raw(text)` one frame with this text · `together(messages)` in one write where there are
 * writes · `long(bytes, { ends })` one frame of that size in pieces · `bytes(buffer)` a frame of these bytes · `done()`
 * nothing more comes · `cut()` the connection breaks · `open()` somebody still listens
 */
const tool = (name, more = {}) => ({ name, inputSchema: { type: 'object' }, ...more });
const text = (value) => ({ content: [{ type: 'text', text: String(value) }] });
const result = ({ id }, value) => ({ jsonrpc: '2.0', id, result: value });
const note = (method, params = {}) => ({ jsonrpc: '2.0', method: `notifications/${method}`, params });
const progress = (message, value) =>
  note('progress', { progressToken: message.params._meta?.progressToken, progress: value });
const OBJECT = (properties) => ({ type: 'object', properties });

/** A schema of `depth` doublings: 2^depth ways to the same `string`. */
const doubled = (depth) => {
  const $defs = { d0: { type: 'string' } };
  for (let i = 1; i <= depth; i += 1)
    $defs[`d${i}`] = { allOf: [{ $ref: `#/$defs/d${i - 1}` }, { $ref: `#/$defs/d${i - 1}` }] };
  return { $defs, type: 'object', properties: { x: { $ref: `#/$defs/d${depth}` } } };
};

/** What a fault returns that ends its answer itself, or never. */
const LATER = 'later';

/** `times` messages without keeping the loop, as fast as the other side takes them. */
async function flood(io, times, message) {
  for (let i = 0; i < times && io.open(); i += 1) {
    const full = io.say(message(i));
    if (full || i % 500 === 499) await new Promise((resolve) => setImmediate(resolve));
  }
}

const FAULTS = {
  echo: (message, io, { value }) => io.say(result(message, text(value))),
  duplicate(message, io) {
    io.say(result(message, text('first')));
    io.say(result(message, text('second BODY-MARK')));
  },
  foreign(message, io) {
    io.say({ jsonrpc: '2.0', id: 4711, result: text('BODY-MARK') });
    io.say({ jsonrpc: '2.0', id: 't-foreign', result: text('BODY-MARK') });
    io.say({ jsonrpc: '2.0', id: null, error: { code: -32700, message: 'BODY-MARK' } });
    io.say(result(message, text('mine')));
  },
  'wrong-version': (message, io) => io.say({ ...result(message, text('x')), jsonrpc: '1.0' }),
  'no-version': (message, io) => io.say({ id: message.id, result: text('x') }),
  'result-and-error': (message, io) =>
    io.say({ ...result(message, text('x')), error: { code: 1, message: 'and wrong' } }),
  neither: (message, io) => io.say({ jsonrpc: '2.0', id: message.id }),
  'result-text': (message, io) => io.say(result(message, 'a text')),
  'error-text': (message, io) => io.say({ jsonrpc: '2.0', id: message.id, error: 'a text' }),
  'no-content': (message, io) => io.say(result(message, { vendor: 1 })),
  late(message, io, { ms }) {
    setTimeout(() => {
      io.say(result(message, text('late BODY-MARK')));
      io.done();
    }, ms);
    return LATER;
  },
  hang: () => LATER,
  cut(message, io) {
    io.cut();
    return LATER;
  },
  /** Ends without an answer, politely. */
  leave() {},
  big: (message, io, { bytes }) => io.say(result(message, text('x'.repeat(bytes)))),
  endless(message, io, { bytes }) {
    void io.long(bytes, { ends: false });
    return LATER;
  },
  deep: (message, io, { levels }) =>
    io.raw(
      `{"jsonrpc":"2.0","id":${JSON.stringify(message.id)},"result":{"content":[],"deep":${'['.repeat(levels)}${']'.repeat(levels)}}}`,
    ),
  pollution: (message, io) =>
    io.raw(
      `{"jsonrpc":"2.0","id":${JSON.stringify(message.id)},"__proto__":{"polluted":1},"result":{"content":[],"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}}`,
    ),
  'error-flood': (message, io, { length }) =>
    io.say({
      jsonrpc: '2.0',
      id: message.id,
      error: {
        code: -32000,
        message: `\u001b[31mred\u001b[0m\nforged line\u0000\u2028${'x'.repeat(length)}`,
        data: { much: 'y'.repeat(Math.min(length, 100_000)) },
      },
    }),
  'progress-together'(message, io) {
    io.together([...[1, 2, 3, 4, 5].map((n) => progress(message, n)), result(message, text('done'))]);
  },
  'progress-forever'(message, io) {
    let n = 0;
    const timer = setInterval(() => {
      if (!io.open()) clearInterval(timer);
      else io.say(progress(message, ++n));
    }, 5);
    setTimeout(() => clearInterval(timer), 10_000).unref();
    return LATER;
  },
  'progress-spoofed'(message, io) {
    for (const progressToken of ['t1.', 't2.', 'nobody', 0, null, { a: 1 }])
      io.say(note('progress', { progressToken, progress: 1e9 }));
    io.say(result(message, text('done')));
  },
  async notifications(message, io, { times }) {
    await flood(io, times, (i) => note('message', { level: 'info', data: `flood ${i}` }));
    io.say(result(message, text('done')));
    io.done();
  },
  async changes(message, io, { times }) {
    await flood(io, times, () => note('tools/list_changed'));
    io.say(result(message, text('done')));
    io.done();
  },
  async asks(message, io, { times }) {
    await flood(io, times, (i) => ({
      jsonrpc: '2.0',
      id: `ask-${i}`,
      method: 'sampling/createMessage',
      params: { messages: [], maxTokens: 1 },
    }));
    io.say(result(message, text('done')));
    io.done();
  },
  async pings(message, io, { times }) {
    await flood(io, times, (i) => ({ jsonrpc: '2.0', id: `ping-${i}`, method: 'ping' }));
    io.say(result(message, text('done')));
    io.done();
  },
  garbage(message, io) {
    for (const frame of ['loading…', '\u001b[2J', 'null', '[]', '"text"', '{"half":', '12', '{}', '\uFEFF{'])
      io.raw(frame);
    io.say(result(message, text('after all')));
  },
  'bad-utf8'(message, io) {
    const id = JSON.stringify(message.id);
    io.bytes(
      Buffer.concat([
        Buffer.from(`{"jsonrpc":"2.0","id":${id},"result":{"content":[{"type":"text","text":"`),
        Buffer.from([0xc3, 0x28, 0xff]),
        Buffer.from('"}]}}'),
      ]),
    );
  },
  surrogate: (message, io) =>
    io.raw(
      `{"jsonrpc":"2.0","id":${JSON.stringify(message.id)},"result":{"content":[{"type":"text","text":"\\ud800 \\u0000"}]}}`,
    ),
  structured: (message, io, { value }) => io.say(result(message, { content: [], structuredContent: value })),
};

const LISTS = {
  many: [
    tool('act'),
    ...Array.from({ length: 9_999 }, (_, i) => tool(`t${i}`, { description: `does ${i}` })),
  ],
  'bad-schema': [tool('act'), { name: 'broken', inputSchema: 'no schema' }, { name: 'empty' }, tool('last')],
  doubles: [tool('act'), tool('act', { description: 'the second' }), tool('last')],
  names: [tool('act'), tool('__proto__'), tool('constructor'), tool('toString'), tool('hasOwnProperty')],
  redos: [
    tool('act'),
    tool('structured', { outputSchema: OBJECT({ x: { type: 'string', pattern: '^(a+)+$' } }) }),
  ],
  doubling: [tool('act'), tool('structured', { outputSchema: doubled(28) })],
  'remote-ref': [
    tool('act'),
    tool('structured', { outputSchema: OBJECT({ x: { $ref: 'http://127.0.0.1:1/schema.json' } }) }),
  ],
  format: [tool('act'), tool('structured', { outputSchema: OBJECT({ x: { format: 'EVIL-FORMAT' } }) })],
  items: [
    tool('act'),
    tool('structured', {
      outputSchema: OBJECT({ x: { type: 'array', items: { type: 'string' } } }),
    }),
  ],
};

const MODES = {
  silent: ({ method }) => (method === 'initialize' ? LATER : false),
  'string-id'(message, io) {
    if (message.method !== 'initialize') return false;
    io.say({ ...result(message, opening()), id: String(message.id) });
    return true;
  },
  'endless-pages'(message, io) {
    if (message.method !== 'tools/list') return false;
    const page = Number(message.params?.cursor ?? 0);
    io.say(result(message, { tools: [tool(`tool-${page}`)], nextCursor: String(page + 1) }));
    return true;
  },
  'slow-pages'(message, io) {
    if (message.method !== 'tools/list') return false;
    const page = Number(message.params?.cursor ?? 0);
    setTimeout(() => {
      io.say(result(message, { tools: [tool(`tool-${page}`)], nextCursor: String(page + 1) }));
      io.done();
    }, 200);
    return LATER;
  },
  'many-tools'(message, io) {
    if (message.method !== 'tools/list') return false;
    const page = Number(message.params?.cursor ?? 0);
    const tools = Array.from({ length: 130_000 }, (_, i) => ({ name: `t${page}-${i}`, inputSchema: {} }));
    io.say(result(message, { tools, ...(page === 0 ? { nextCursor: '1' } : {}) }));
    return true;
  },
};

const opening = () => ({
  protocolVersion: '2025-11-25',
  capabilities: { tools: { listChanged: true }, logging: {} },
  serverInfo: { name: 'hostile', version: '1' },
});

export function createHostile(mode = '') {
  let lists = 0;
  const answer = (message) => {
    switch (message.method) {
      case 'initialize':
        return opening();
      case 'tools/list':
        lists += 1;
        return { tools: LISTS[mode] ?? [tool('act'), tool('stats')] };
      case 'logging/setLevel':
      case 'ping':
        return {};
      default:
        return undefined;
    }
  };
  return {
    receive(message, io) {
      if (message.method === undefined || message.id === undefined) return io.done();
      const special = Object.hasOwn(MODES, mode) ? MODES[mode](message, io) : false;
      if (special === LATER) return undefined;
      if (special) return io.done();
      if (message.method === 'tools/call') {
        const { name, arguments: args = {} } = message.params;
        if (name === 'stats') io.say(result(message, text(lists)));
        else {
          const wanted = name === 'act' ? args.fault : name;
          const fault = Object.hasOwn(FAULTS, wanted) ? FAULTS[wanted] : undefined;
          if (fault === undefined) io.say(result(message, text(`no fault ${args.fault}`)));
          else {
            const ends = fault(message, io, args);
            if (ends === LATER || ends instanceof Promise) return undefined;
          }
        }
        return io.done();
      }
      const known = answer(message);
      io.say(
        known === undefined
          ? { jsonrpc: '2.0', id: message.id, error: { code: -32601, message: 'no such method' } }
          : result(message, known),
      );
      return io.done();
    },
  };
}

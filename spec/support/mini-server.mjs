/**
 * A small MCP server of any revision, as protocol logic without a transport: hosts of it are `mini-stdio.mjs` and
 * `mini-http.mjs`. It is written against the specification and not with the SDK, so that both do not share a mistake.
 *
 * `out` carries what belongs to one request (progress, the server's own requests, the answer), `push` what does not.
 */
export const MODERN = '2026-07-28';
const META = 'io.modelcontextprotocol/';

export function createMiniServer({ revision, push, instance = 'mini' }) {
  const modern = revision >= MODERN;
  const asked = new Map();
  const subscribed = new Set();
  /** Modern: listen requests that are open, by id. */
  const listeners = new Map();
  const running = new Map();
  const cancelled = [];
  let nextId = 1;
  let extraTools = 0;
  let logLevel;

  const tools = () => [
    tool('echo', { message: { type: 'string' } }),
    tool('slow', { steps: { type: 'integer' }, ms: { type: 'number' } }),
    tool('hang', {}),
    tool('fail', {}),
    tool('ask', { prompt: { type: 'string' }, question: { type: 'object' } }),
    tool('grow', {}),
    tool('touch', { uri: { type: 'string' } }),
    tool('state', {}),
    {
      ...tool('structured', { good: { type: 'boolean' } }),
      outputSchema: { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'] },
    },
    ...Array.from({ length: extraTools }, (_, i) => tool(`extra-${i}`, {})),
  ];

  const capabilities = {
    tools: { listChanged: true },
    resources: { subscribe: true, listChanged: true },
    prompts: { listChanged: true },
    ...(revision >= '2025-03-26' ? { completions: {} } : {}),
    ...(modern ? {} : { logging: {} }),
  };
  const serverInfo = { name: instance, version: '1.0.0', vendorField: { kept: true } };

  const complete = (result) => (modern ? { resultType: 'complete', ...result } : result);
  const cacheable = (result) => complete(modern ? { ttlMs: 0, cacheScope: 'private', ...result } : result);

  const notifyChange = (method, params) => {
    if (!modern) return push({ jsonrpc: '2.0', method, params });
    for (const [id, { filter, out }] of listeners) {
      const wanted =
        (method === 'notifications/tools/list_changed' && filter.toolsListChanged) ||
        (method === 'notifications/resources/updated' && filter.resourceSubscriptions?.includes(params.uri));
      if (wanted)
        out({ jsonrpc: '2.0', method, params: { ...params, _meta: { [`${META}subscriptionId`]: id } } });
    }
  };

  const ask = (out, method, params) =>
    new Promise((resolve) => {
      const id = `srv-${nextId++}`;
      asked.set(id, resolve);
      out({ jsonrpc: '2.0', id, method, params });
    });

  async function call(request, out) {
    const { name, arguments: args = {}, _meta, inputResponses, requestState } = request.params;
    const token = _meta?.progressToken;
    const text = (value) => complete({ content: [{ type: 'text', text: String(value) }], vendorResult: 1 });
    switch (name) {
      case 'echo':
        return text(args.message);
      case 'slow': {
        for (let i = 1; i <= args.steps; i++) {
          await new Promise((r) => setTimeout(r, args.ms));
          if (running.get(request.id)?.stop) return undefined;
          if (token !== undefined)
            out({
              jsonrpc: '2.0',
              method: 'notifications/progress',
              params: { progressToken: token, progress: i, total: args.steps },
            });
        }
        return text('done');
      }
      case 'hang':
        return new Promise(() => {});
      case 'fail':
        return complete({ isError: true, content: [{ type: 'text', text: 'it failed' }] });
      case 'structured':
        return complete({ content: [], structuredContent: { n: args.good ? 1 : 'one' } });
      case 'ask': {
        // `question`: another one than sampling; what the host answers to it is the text.
        const question = args.question ?? {
          method: 'sampling/createMessage',
          params: {
            messages: [{ role: 'user', content: { type: 'text', text: args.prompt } }],
            maxTokens: 5,
          },
        };
        const told = (result) => text(result.content?.text ?? JSON.stringify(result));
        if (!modern) {
          const answer = await ask(out, question.method, question.params);
          return answer.error ? text(`error ${answer.error.message}`) : told(answer.result);
        }
        if (inputResponses === undefined) {
          return {
            resultType: 'input_required',
            inputRequests: { one: question },
            requestState: 'opaque ✓',
          };
        }
        return requestState === 'opaque ✓' ? told(inputResponses.one) : text('state lost');
      }
      case 'grow':
        extraTools += 1;
        notifyChange('notifications/tools/list_changed', {});
        return text(extraTools);
      case 'touch':
        if (modern || subscribed.has(args.uri))
          notifyChange('notifications/resources/updated', { uri: args.uri });
        return text('touched');
      case 'state':
        return text(
          JSON.stringify({
            pid: process.pid,
            cancelled,
            subscribed: [...subscribed],
            logLevel,
            listening: listeners.size,
          }),
        );
      default:
        if (name.startsWith('extra-')) return text(name);
        throw rpcError(-32602, `Unknown tool: ${name}`);
    }
  }

  async function answer(request, out) {
    const { method, params = {} } = request;
    if (modern && params._meta?.[`${META}protocolVersion`] !== MODERN) {
      throw rpcError(-32022, 'unsupported version', {
        supported: [MODERN],
        requested: params._meta?.[`${META}protocolVersion`],
      });
    }
    switch (method) {
      case 'initialize':
        if (modern) break;
        return { protocolVersion: revision, capabilities, serverInfo, instructions: 'be brief' };
      case 'server/discover':
        if (!modern) break;
        return cacheable({
          supportedVersions: [MODERN],
          capabilities,
          serverInfo,
          _meta: { [`${META}serverInfo`]: serverInfo },
          instructions: 'be brief',
        });
      case 'ping':
        if (modern) break;
        return {};
      case 'tools/list':
        return cacheable(page(tools(), 'tools', params.cursor));
      case 'tools/call':
        return call(request, out);
      case 'resources/list':
        return cacheable({
          resources: [
            { uri: 'mini://a', name: 'a' },
            { uri: 'mini://b', name: 'b' },
          ],
        });
      case 'resources/templates/list':
        return cacheable({ resourceTemplates: [{ uriTemplate: 'mini://item/{id}', name: 'item' }] });
      case 'resources/read':
        if (!/^mini:\/\/(a|b|item\/.+)$/.test(params.uri))
          throw rpcError(modern ? -32602 : -32002, 'Resource not found', { uri: params.uri });
        return cacheable({ contents: [{ uri: params.uri, text: `content of ${params.uri}` }] });
      case 'resources/subscribe':
        if (modern) break;
        subscribed.add(params.uri);
        return {};
      case 'resources/unsubscribe':
        if (modern) break;
        subscribed.delete(params.uri);
        return {};
      case 'prompts/list':
        return cacheable({ prompts: [{ name: 'greet', arguments: [{ name: 'who' }] }] });
      case 'prompts/get':
        return complete({
          messages: [{ role: 'user', content: { type: 'text', text: `hello ${params.arguments?.who}` } }],
        });
      case 'completion/complete':
        return complete({
          completion: { values: ['alpha', 'beta'].filter((v) => v.startsWith(params.argument.value)) },
        });
      case 'logging/setLevel':
        if (modern) break;
        logLevel = params.level;
        return {};
      case 'vendor/thing':
        return complete({ vendor: params.x });
      case 'subscriptions/listen':
        if (!modern) break;
        listeners.set(request.id, { filter: params.notifications, out });
        out({
          jsonrpc: '2.0',
          method: 'notifications/subscriptions/acknowledged',
          params: { notifications: params.notifications, _meta: { [`${META}subscriptionId`]: request.id } },
        });
        return undefined;
    }
    throw rpcError(-32601, `Method not found: ${method}`);
  }

  return {
    modern,
    capabilities,
    /** Resolves when the request of this message, if it is one, was answered or never will be. */
    async receive(message, out) {
      if (message.method === undefined) {
        asked.get(message.id)?.(message);
        asked.delete(message.id);
        return;
      }
      if (message.id === undefined) {
        if (message.method === 'notifications/cancelled') this.cancel(message.params.requestId);
        return;
      }
      running.set(message.id, { stop: false });
      try {
        const result = await answer(message, out);
        if (result !== undefined && running.get(message.id)?.stop !== true)
          out({ jsonrpc: '2.0', id: message.id, result }, true);
      } catch (error) {
        out(
          {
            jsonrpc: '2.0',
            id: message.id,
            error: {
              code: error.code ?? -32603,
              message: error.message,
              ...(error.data === undefined ? {} : { data: error.data }),
            },
          },
          true,
        );
      } finally {
        running.delete(message.id);
      }
    },
    cancel(id) {
      cancelled.push(id);
      listeners.delete(id);
      const known = running.get(id);
      if (known !== undefined) known.stop = true;
    },
  };
}

function tool(name, properties) {
  return {
    name,
    description: `the ${name} tool`,
    inputSchema: { type: 'object', properties },
    vendorTool: true,
  };
}

/** Lists come in pages of four, so that every client has to walk them. */
function page(items, key, cursor) {
  const from = cursor === undefined ? 0 : Number(cursor);
  const next = from + 4 < items.length ? { nextCursor: String(from + 4) } : {};
  return { [key]: items.slice(from, from + 4), ...next };
}

function rpcError(code, message, data) {
  return Object.assign(new Error(message), { code, data });
}

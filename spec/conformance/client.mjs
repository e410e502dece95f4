/**
 * The client under test: one engine with one server, doing what each scenario of the conformance suite asks for. The
 * suite starts it with the server's URL; the scenario's name and context come through the environment.
 */
import { createEngine } from '../../dist/index.js';

const url = process.argv.at(-1);
const scenario = process.env.MCP_CONFORMANCE_SCENARIO ?? 'initialize';
const revision = process.env.MCP_CONFORMANCE_PROTOCOL_VERSION ?? '2025-11-25';
const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? '{}');
const modern = revision >= '2026-07-28';

/** Some mock servers answer no `server/discover`: what it would say is given. */
const PRIOR = {
  supportedVersions: ['2026-07-28'],
  capabilities: { tools: {}, resources: {}, prompts: {} },
  serverInfo: { name: 'mock', version: '1.0.0' },
  resultType: 'complete',
  ttlMs: 0,
  cacheScope: 'private',
};
const NEED_PRIOR = new Set([
  'http-standard-headers',
  'http-custom-headers',
  'http-invalid-tool-headers',
  'sep-2322-client-request-state',
]);

const host = {
  'elicitation-sep1034-client-defaults': {
    elicit: () => ({ action: 'accept', content: {} }),
    capabilities: { elicitation: { form: { applyDefaults: true } } },
  },
  'request-metadata': {
    roots: [],
    sample: () => ({ role: 'assistant', model: 'none', content: { type: 'text', text: '' } }),
    elicit: () => ({ action: 'decline' }),
  },
  'sep-2322-client-request-state': { elicit: () => ({ action: 'accept', content: { confirmed: true } }) },
}[scenario];

/** Where the browser would be sent back to; nobody listens there, the address itself is the answer. */
const redirectUrl = 'http://localhost:3000/callback';
const CLIENT_METADATA = 'https://conformance-test.local/client-metadata.json';

const auth = {
  'auth/basic-cimd': { oauth: { redirectUrl, clientMetadataUrl: CLIENT_METADATA } },
  'auth/pre-registration': {
    oauth: {
      redirectUrl,
      clientId: context.client_id,
      clientSecret: context.client_secret,
      expectedIssuer: context.issuer,
    },
  },
  'auth/client-credentials-basic': {
    clientCredentials: { clientId: context.client_id, clientSecret: context.client_secret },
  },
  'auth/client-credentials-jwt': {
    privateKeyJwt: {
      clientId: context.client_id,
      privateKey: context.private_key_pem,
      algorithm: context.signing_algorithm,
    },
  },
  'auth/enterprise-managed-authorization': {
    crossApp: {
      clientId: context.client_id,
      clientSecret: context.client_secret,
      identityProvider: {
        clientId: context.idp_client_id,
        idToken: context.idp_id_token,
        tokenEndpoint: context.idp_token_endpoint,
      },
    },
  },
};

function authOf(name) {
  if (!name.startsWith('auth/')) return undefined;
  if (name.startsWith('auth/dpop')) return { oauth: { redirectUrl }, dpop: true };
  // Only keys that the scenario gives a value for.
  return JSON.parse(JSON.stringify(auth[name] ?? { oauth: { redirectUrl } }));
}

const engine = createEngine({
  naming: 'transparent',
  ...(host === undefined ? {} : { host }),
  servers: {
    mock: {
      url,
      era:
        scenario === 'request-metadata'
          ? 'auto'
          : modern
            ? NEED_PRIOR.has(scenario)
              ? 'modern'
              : 'auto'
            : 'legacy',
      ...(NEED_PRIOR.has(scenario) ? { prior: PRIOR } : {}),
      ...(authOf(scenario) === undefined ? {} : { auth: authOf(scenario) }),
    },
  },
});

const tools = async () => (await engine.listTools()).items;

const steps = {
  async tools_call() {
    await tools();
    await engine.callTool('add_numbers', { a: 5, b: 3 });
  },
  async 'elicitation-sep1034-client-defaults'() {
    await tools();
    await engine.callTool('test_client_elicitation_defaults', {});
  },
  async 'sse-retry'() {
    await tools();
    await engine.callTool('test_reconnection', {});
  },
  async 'http-standard-headers'() {
    for (const tool of await tools()) await engine.callTool(tool.name, {});
    for (const resource of (await engine.listResources()).items) await engine.readResource(resource.uri);
    for (const prompt of (await engine.listPrompts()).items) await engine.getPrompt(prompt.name, {});
  },
  async 'http-custom-headers'() {
    await tools();
    for (const call of context.toolCalls ?? []) await engine.callTool(call.name, call.arguments);
  },
  async 'http-invalid-tool-headers'() {
    for (const tool of await tools()) await engine.callTool(tool.name, { region: 'us-west1' });
  },
  async 'sep-2322-client-request-state'() {
    await tools();
    for (const name of ['test_mrtr_echo_state', 'test_mrtr_no_state', 'test_mrtr_unrelated'])
      await engine.callTool(name, {});
    // The last one answers with a result type that does not exist.
    await engine.callTool('test_mrtr_no_result_type', {}).catch(() => {});
  },
  async 'json-schema-2020-12-preservation'() {
    const tool = (await tools()).find((t) => t.name === 'json_schema_2020_12_tool');
    await engine.callTool('json_schema_echo', { schema: tool.inputSchema });
  },
};

/** Plays the person who agrees: follows the question to where the browser would end. */
let question;
engine.on('auth.required', ({ challenge, error }) => {
  question = challenge?.authorizationUrl === undefined ? error : challenge.authorizationUrl;
});

async function authorized() {
  while (engine.connection('mock').state === 'AuthRequired') {
    if (typeof question !== 'string') throw question;
    const asked = await fetch(question, { redirect: 'manual' });
    await engine.authorize('mock', { url: asked.headers.get('location') });
  }
  const [{ state, error }] = engine.fleet.connections;
  if (state !== 'Connected') throw error ?? new Error(`mock is ${state}`);
}

/** A call that the server may want a wider authorization for. */
async function authorizedCall(name) {
  for (;;) {
    try {
      return await engine.callTool(name, {});
    } catch (error) {
      if (error.code !== 'auth_required') throw error;
      await settled();
      await authorized();
    }
  }
}

/** The connection moves to AuthRequired right after the call has failed. */
async function settled() {
  for (let i = 0; i < 100 && engine.connection('mock').state === 'Connected'; i++)
    await new Promise(setImmediate);
}

try {
  await engine.start();
  await authorized();
  if (scenario.startsWith('auth/')) {
    const listed = await engine.listTools();
    if (listed.failures.length > 0) {
      await settled();
      await authorized();
      await tools();
    }
    await authorizedCall('test-tool');
  } else await (steps[scenario] ?? tools)();
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  await engine.stop();
}

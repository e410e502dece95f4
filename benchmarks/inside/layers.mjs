/**
 * `node layers.mjs DIST`: what each layer of the path, and the route at its end, adds to a request that passes,
 * nanoseconds by run. One line of JSON.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { toolList } from '../support/wire-server.mjs';
import { nanosecondsMore } from './measure.mjs';

const dist = process.argv[2];
const load = (path) => import(`${dist}/${path}.js`);
const { createClock } = await load('core/clock');
const { Cancellation } = await load('core/cancellation');
const { amend, NewFacts } = await load('core/request');
const { deadline } = await load('resilience/deadline');
const { retry } = await load('resilience/retry');
const { createRetryBudget } = await load('resilience/retry-budget');
const { cache, createCache } = await load('resilience/cache');
const { singleFlight } = await load('resilience/single-flight');
const { inputRounds } = await load('resilience/input-rounds');
const { admission } = await load('resilience/admission');
const { rateLimit, createTokenBucket } = await load('resilience/rate-limit');
const { hedge } = await load('resilience/hedge');
const { policy } = await load('security/policy-interceptor');
const { createPolicy } = await load('security/policy');
const { auditLayers } = await load('security/audit-interceptor');
const { createAuditTrail } = await load('security/audit');
const { resolve } = await load('engine/resolve');
const { failover } = await load('engine/failover');
const { createCatalog, withInventory } = await load('catalog/catalog');
const { emptyInventory } = await load('catalog/inventory');
const { createRoutingRules } = await load('routing/rules');
const { createRoute } = await load('routing/route');
const { createPool } = await load('routing/pool');
const { strategyByName } = await load('routing/strategy-registry');
const { createCircuitBreaker } = await load('resilience/circuit-breaker');
const { createBulkhead, slots } = await load('resilience/bulkhead');

const clock = createClock();
const random = Math.random;
const answer = Promise.resolve({ content: [] });
const terminal = () => answer;

const CALL = {
  seq: 1,
  method: 'tools/call',
  params: { name: 'echo', arguments: {} },
  server: 'peer',
  target: 'peer__echo',
  operation: 'unsafe',
  deadline: clock.now() + 600_000,
  startedAt: clock.now(),
  cancellation: new Cancellation(),
  onProgress: undefined,
  principal: undefined,
  affinity: undefined,
  cache: 'use',
  batch: false,
  meta: undefined,
  attempt: 1,
  tried: [],
  facts: new NewFacts(),
};
/** Made by the constructors of the engine: V8 may put all objects of a literal into old space, which is dear later. */
const request = (of) => amend(of, { cancellation: new Cancellation(), facts: new NewFacts() });

const rules = {
  lists: { ttlMs: 0, maxBytes: 1e7 },
  resources: { ttlMs: 60_000, maxBytes: 1e7 },
  tools: { ttlMs: 0, maxBytes: 0 },
};
const store = createCache({ clock, policy: rules });
const budget = createRetryBudget({ clock, ratio: 0.1, minPerSecond: 1, windowMs: 10_000 });
const limits = { maxQueue: 256, perTenant: 64, perTool: 64 };
const retries = { retries: 2, baseMs: 100, capMs: 2_000 };
const bucket = createTokenBucket({ clock, perSecond: 1e12, burst: 1e6 });
const deny = (i) => ({ effect: 'deny', servers: ['peer'], tools: [`write_${i}_*`] });
const judge = (count) =>
  policy({
    engine: createPolicy(
      Array.from({ length: count }, (_, i) => deny(i)),
      { servers: ['peer'] },
    ),
    notFound: () => new Error('not found'),
  });

const folder = mkdtempSync(join(tmpdir(), 'troupe-layers-'));
/** As the engine installs it: the outcome outermost, the intent where the server is known; two records of each call. */
function audit(name, settings) {
  const trail = createAuditTrail({ path: join(folder, name), clock, ...settings });
  const { whole, before } = auditLayers({ trail, clock });
  return (next) => whole(before(next));
}
const unwritten = (_fd, _bytes, _offset, length) => length;

const inventory = emptyInventory('peer', 0);
const catalog = withInventory(createCatalog(['peer']), 'peer', {
  ...inventory,
  tools: { ...inventory.tools, items: toolList(100) },
});
const serversWith = (equivalentTo) =>
  new Map([['peer', { name: 'peer', config: { equivalentTo }, replicas: [] }]]);
const [alone, replaceable] = [serversWith([]), serversWith(['other'])];
const view = { servers: alone, catalog: () => catalog, knows: () => true };
const byExposedName = {
  server: undefined,
  target: 'peer__echo',
  params: { name: 'peer__echo', arguments: {} },
};

const breaker = () =>
  createCircuitBreaker({
    clock,
    random,
    probe: () => answer,
    options: {
      minSamples: 5,
      failureRatio: 0.5,
      consecutive: 5,
      windowMs: 10_000,
      openMs: 5_000,
      openFactor: 2,
      openMaxMs: 60_000,
      probeTimeoutMs: 5_000,
    },
  });
/** The end of the path: picks, takes a slot, hands over, books the outcome. What it hands over to is the bare handler. */
function route(replicas, withBreaker) {
  const candidates = Array.from({ length: replicas }, (_, i) => ({
    id: `peer#${i}`,
    availability: 'usable',
    slots: 64,
    handle: terminal,
    ...(withBreaker ? { health: breaker() } : {}),
  }));
  const strategy = strategyByName('ewma-least-outstanding');
  const pool = createPool({ server: 'peer', candidates, strategy, clock, random });
  return () => createRoute({ pool: () => pool, awaitReady: () => undefined });
}
const bulkhead = createBulkhead({ clock, name: 'peer#0', max: 64, maxQueue: 0, adaptive: { min: 1 } });

const read = {
  method: 'resources/read',
  operation: 'read',
  target: 'file:///a',
  params: { uri: 'file:///a' },
};
const LAYERS = {
  deadline: [deadline({ clock })],
  'resolve, 100 tools': [
    resolve({ view: () => view, rules: createRoutingRules([], () => () => false) }),
    byExposedName,
  ],
  'policy, 1 rule': [judge(1)],
  'policy, 20 rules': [judge(20)],
  'cache, not for it': [cache({ of: () => store })],
  'cache, hit': [cache({ of: () => store }), read],
  'single flight, not for it': [singleFlight({ clock })],
  'single flight, alone': [singleFlight({ clock }), read],
  'failover, none declared': [failover(() => alone, undefined)],
  'failover, one declared': [failover(() => replaceable, undefined)],
  'input rounds': [inputRounds({ clock, answer: () => answer, maxRounds: () => 10 })],
  'admission, no limits': [admission({ clock, policy: () => undefined })],
  'admission, per tool and tenant': [
    // The same object for all requests, as of one configuration: the lines are kept by it.
    admission({ clock, policy: () => limits }),
    { principal: { id: 'somebody', tenant: 'acme' } },
  ],
  'rate limit': [rateLimit({ clock, bucket: () => bucket })],
  retry: [retry({ clock, random, policy: () => retries, budget: () => budget })],
  'hedge, not for it': [
    hedge({ clock, policy: () => undefined, budget: () => budget, utilisation: () => 0 }),
  ],
  'route, 1 replica: pick and slot': [route(1, false)],
  'route, 1 replica: pick, slot and breaker': [route(1, true)],
  'route, 3 replicas: pick, slot and breaker': [route(3, true)],
  'slots that adapt': [slots({ clock, bulkhead })],
  'audit, two records in a file': [audit('audit.jsonl'), {}, { times: 2_000 }],
  'audit, without the writing': [audit('unwritten.jsonl', { write: unwritten }), {}, { times: 2_000 }],
};

const found = {};
for (const [name, [layer, changes = {}, settings]] of Object.entries(LAYERS)) {
  const handler = layer(terminal);
  const of = { ...CALL, ...changes };
  found[name] = await nanosecondsMore(
    () => handler(request(of)),
    () => terminal(request(of)),
    settings,
  );
}
rmSync(folder, { recursive: true });
process.stdout.write(`${JSON.stringify(found)}\n`);
process.exit(0);

/** `node layers.mjs DIST`: what each layer of the path adds to a request that passes, nanoseconds. One line of JSON. */
import { nanoseconds } from './measure.mjs';

const dist = process.argv[2];
const load = (path) => import(`${dist}/${path}.js`);
const { createClock } = await load('core/clock');
const { Cancellation } = await load('core/cancellation');
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

const clock = createClock();
const random = Math.random;
const answer = Promise.resolve({ content: [] });
const terminal = () => answer;

function request(changes) {
  return {
    seq: 1,
    method: 'tools/call',
    params: { name: 'echo', arguments: {} },
    server: 'peer',
    target: 'peer__echo',
    operation: 'unsafe',
    deadline: clock.now() + 60_000,
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
    facts: { attempts: 1, rounds: 0 },
    ...changes,
  };
}

const rules = {
  lists: { ttlMs: 0, maxBytes: 1e7 },
  resources: { ttlMs: 60_000, maxBytes: 1e7 },
  tools: { ttlMs: 0, maxBytes: 0 },
};
const store = createCache({ clock, policy: rules });
const budget = createRetryBudget({ clock, ratio: 0.1, minPerSecond: 1, windowMs: 10_000 });
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

const read = {
  method: 'resources/read',
  operation: 'read',
  target: 'file:///a',
  params: { uri: 'file:///a' },
};
const LAYERS = {
  deadline: [deadline({ clock })],
  'policy, 1 rule': [judge(1)],
  'policy, 20 rules': [judge(20)],
  'cache, not for it': [cache({ of: () => store })],
  'cache, hit': [cache({ of: () => store }), read],
  'single flight, not for it': [singleFlight()],
  'single flight, alone': [singleFlight(), read],
  'input rounds': [inputRounds({ clock, answer: () => answer, maxRounds: () => 10 })],
  'admission, no limits': [admission({ clock, policy: () => undefined })],
  'admission, per tool and tenant': [
    admission({ clock, policy: () => ({ maxQueue: 256, perTenant: 64, perTool: 64 }) }),
  ],
  'rate limit': [rateLimit({ clock, bucket: () => bucket })],
  retry: [retry({ clock, random, policy: () => retries, budget: () => budget })],
  'hedge, not for it': [
    hedge({ clock, policy: () => undefined, budget: () => budget, utilisation: () => 0 }),
  ],
};

const found = {};
const bare = await nanoseconds(() => terminal(request()));
for (const [name, [layer, changes]] of Object.entries(LAYERS)) {
  const handler = layer(terminal);
  const without = changes === undefined ? bare : await nanoseconds(() => terminal(request(changes)));
  found[name] = Math.max(0, (await nanoseconds(() => handler(request(changes)))) - without);
}
process.stdout.write(`${JSON.stringify(found)}\n`);
process.exit(0);

/**
 * `node picks.mjs DIST`: nanoseconds of one pick, mask included, by strategy and number of replicas; one figure per run.
 * Strategies that go by a key are given one that varies: without it the picker, or the strategy, goes another way.
 */
const dist = process.argv[2];
const { createPicker } = await import(`${dist}/routing/picker.js`);
const { STRATEGY_NAMES, strategyByName } = await import(`${dist}/index.js`);

const PICKS = 20_000;
const [WARM, RUNS] = [2, 5];
/** As `hash32` spreads them. */
const KEYS = Uint32Array.from({ length: 1_024 }, (_, i) => Math.imul(i + 1, 0x9e3779b1));
const QUERY = { attempt: 1, tried: [], operation: 'read' };

function timed(name, replicas) {
  const clock = { now: () => performance.now() };
  const options =
    name === 'prequal'
      ? { loadReporter: { probe: (_, report) => report({ inFlight: 1, latencyMs: 10, at: clock.now() }) } }
      : undefined;
  const strategy = strategyByName(name, options);
  const picker = createPicker({
    strategy,
    replicas: Array.from({ length: replicas }, (_, i) => ({ id: `pool#${i}`, availability: 'usable' })),
    random: Math.random,
    clock,
  });
  const keyed = strategy.keyed === true;
  const runs = [];
  for (let run = 0; run < WARM + RUNS; run += 1) {
    const from = performance.now();
    for (let i = 0; i < PICKS; i += 1) picker.pick(QUERY, keyed ? KEYS[i % KEYS.length] : undefined);
    runs.push(((performance.now() - from) * 1e6) / PICKS);
  }
  return runs.slice(WARM);
}

const found = {};
for (const name of STRATEGY_NAMES)
  for (const replicas of [3, 10, 100]) found[`${name}, ${replicas}`] = timed(name, replicas);
process.stdout.write(`${JSON.stringify(found)}\n`);

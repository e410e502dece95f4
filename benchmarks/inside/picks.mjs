/** `node picks.mjs DIST`: nanoseconds of one pick, mask included, by strategy and number of replicas. */
const dist = process.argv[2];
const { createPicker } = await import(`${dist}/routing/picker.js`);
const { STRATEGY_NAMES, strategyByName } = await import(`${dist}/index.js`);

const PICKS = 20_000;
const QUERY = { attempt: 1, tried: [], operation: 'read' };

function timed(name, replicas) {
  const clock = { now: () => performance.now() };
  const options =
    name === 'prequal'
      ? { loadReporter: { probe: (_, report) => report({ inFlight: 1, latencyMs: 10, at: clock.now() }) } }
      : undefined;
  const picker = createPicker({
    strategy: strategyByName(name, options),
    replicas: Array.from({ length: replicas }, (_, i) => ({ id: `pool#${i}`, availability: 'usable' })),
    random: Math.random,
    clock,
  });
  let best = Infinity;
  for (let run = 0; run < 4; run += 1) {
    const from = performance.now();
    for (let i = 0; i < PICKS; i += 1) picker.pick(QUERY);
    best = Math.min(best, performance.now() - from);
  }
  return (best * 1e6) / PICKS;
}

const found = {};
for (const name of STRATEGY_NAMES)
  for (const replicas of [3, 10, 100]) found[`${name}, ${replicas}`] = timed(name, replicas);
process.stdout.write(`${JSON.stringify(found)}\n`);

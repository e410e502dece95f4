import type { Availability } from '../../../lib/core/availability.ts';
import { mix32 } from '../../../lib/routing/hash.ts';
import { createOutlierDetector } from '../../../lib/routing/outlier.ts';
import type { Picker, PickerReplica } from '../../../lib/routing/picker.ts';
import { withTiers } from '../../../lib/routing/strategies/with-tiers.ts';
import type { RoutingStrategy } from '../../../lib/routing/strategy.ts';
import { type Experiment, type Finding, type Lab, holds, near, within } from '../lab.ts';
import { Kernel } from '../kernel.ts';
import { mean } from '../metrics.ts';
import { simulate } from '../simulate.ts';
import { exponential, poisson } from '../sizes.ts';
import { strictPicker } from '../strict-picker.ts';

/** Picks of the shipped strategies through the shipped picker, counted. */

const QUERY = { attempt: 1, tried: [], operation: 'read' } as const;

interface Member {
  readonly id?: string;
  readonly weight?: number;
  readonly tier?: number;
  readonly availability?: Availability;
  readonly inFlight?: number;
}

function pickerOf(kernel: Kernel, strategy: RoutingStrategy, members: readonly Member[]): Picker {
  const picker = strictPicker({
    strategy,
    replicas: replicasOf(members),
    random: kernel.stream('routing'),
    clock: kernel,
  });
  const pick = picker.pick.bind(picker);
  picker.pick = (query, key, only) => {
    const picked = pick(query, key, only);
    kernel.log(1, picked.kind === 'picked' ? picked.index : -1);
    return picked;
  };
  return picker;
}

function replicasOf(members: readonly Member[]): PickerReplica[] {
  return members.map(({ id, weight, tier, availability = 'usable', inFlight }, i) => ({
    id: id ?? `pool#${i}`,
    weight,
    tier,
    availability,
    load: inFlight === undefined ? undefined : { inFlight, queued: 0 },
  }));
}

const some = (n: number, member: Member = {}): Member[] => Array.from({ length: n }, () => member);

function pickOf(picker: Picker, key?: number): number {
  const picked = picker.pick(QUERY, key);
  return picked.kind === 'picked' ? picked.index : -1;
}

function countsOf(picker: Picker, picks: number): number[] {
  const counts = Array.from({ length: picker.view.n }, () => 0);
  for (let k = 0; k < picks; k++) {
    const index = pickOf(picker);
    counts[index] = counts[index]! + 1;
  }
  return counts;
}

/** Balls are leases that are never given back. */
function fullest(lab: Lab, bins: number, balls: number, times: number): number {
  const kernel = new Kernel(bins + balls);
  const most: number[] = [];
  for (let k = 0; k < times; k++) {
    const counts = countsOf(pickerOf(kernel, lab.strategy('random'), some(bins)), 0);
    const picker = pickerOf(new Kernel(1_000 * (k + 1) + bins), lab.strategy('random'), some(bins));
    for (let ball = 0; ball < balls; ball++) {
      const index = pickOf(picker);
      picker.lease(index);
      counts[index] = counts[index]! + 1;
    }
    most.push(Math.max(...counts));
  }
  return mean(most);
}

const EFFORT = 4;
/** As many as tell a p2c that may draw the same one twice from the shipped one; a quick run needs them too. */
const PANIC_PICKS = 1_000_000;

/** Finagle tries p2c until it meets one that is up, `EFFORT` times; here around the shipped p2c. */
function panics(lab: Lab, bad: number): Finding[] {
  // A bad one is picked only when both of the two drawn are bad.
  const members = Array.from({ length: 100 }, (_, i) => ({ inFlight: i < bad ? 1_000 : 0 }));
  const picker = pickerOf(new Kernel(EFFORT * 1_000 + bad), lab.strategy('p2c'), members);
  let badPicks = 0;
  let rounds = 0;
  let given = 0;
  let tries = 0;
  for (let k = 0; k < PANIC_PICKS; k++) {
    const isBad = pickOf(picker) < bad;
    if (isBad) badPicks++;
    if (isBad && ++tries < EFFORT) continue;
    if (isBad) given++;
    rounds++;
    tries = 0;
  }
  const both = (bad * (bad - 1)) / 9_900;
  return [
    binomial(`bad ${bad} %: both drawn are bad`, both, badPicks, PANIC_PICKS),
    binomial(`bad ${bad} %: panic`, both ** EFFORT, given, rounds),
  ];
}

/** So many of so many, where each is one with the expected probability: within 3 σ. */
function binomial(what: string, expected: number, count: number, of: number): Finding {
  return within(what, expected, count / of, 3 * Math.sqrt((expected * (1 - expected)) / of));
}

function ejectedBySuccessRate(n: number, bad: number): number {
  const off = { consecutive: 1_000_000, failureShare: 2, maxEjected: 1, minReplicas: 1, rateRequests: 100 };
  const detector = createOutlierDetector(
    some(n).map((_, i) => `pool#${i}`),
    { ...off, intervalMs: 10_000 },
  );
  for (let request = 0; request < 200; request++) {
    for (let i = 0; i < n; i++) {
      detector.observe(i, i < bad && request % 2 === 0 ? 'server-error' : 'ok', request);
    }
  }
  // The interval ends with the first outcome after it.
  detector.observe(n - 1, 'ok', 20_000);
  return some(n).filter((_, i) => detector.isEjected(i, 20_000)).length;
}

/** The cost a replica is reckoned with, found by what another must cost to be preferred. */
function peakCostAfter(lab: Lab, idleMs: number, samples: readonly number[]): number {
  let low = 0;
  let high = idleMs;
  for (let step = 0; step < 40; step++) {
    const rival = (low + high) / 2;
    const kernel = new Kernel(7);
    const picker = pickerOf(kernel, lab.strategy('p2c-peak-ewma'), some(2));
    let at = 0;
    const settleAfter = (index: number, latencyMs: number, from: number): void => {
      kernel.at(from, {
        happen() {
          // A lease counts from the look before it.
          pickOf(picker);
          const lease = picker.lease(index);
          kernel.at(from + latencyMs, { happen: () => void picker.settle(lease, 'ok') });
        },
      });
    };
    for (const sample of samples) {
      settleAfter(0, sample, at);
      at += sample;
    }
    // The rival's answer comes at the moment of the look, so it has not decayed.
    settleAfter(1, rival, at + idleMs - rival);
    kernel.run();
    const looked = new Set(Array.from({ length: 8 }, () => pickOf(picker)));
    if (looked.has(0)) high = rival;
    else low = rival;
  }
  return (low + high) / 2;
}

function spill(lab: Lab, usable: number): Finding {
  const members = [
    ...Array.from({ length: 100 }, (_, i) => ({
      tier: 0,
      availability: (i < usable ? 'usable' : 'impossible') as Availability,
    })),
    ...some(100, { tier: 1 }),
  ];
  const strategy = withTiers(lab.strategy('random'), { mode: 'proportional' });
  const picks = Math.round(100_000 * Math.max(0.1, lab.scale));
  const counts = countsOf(pickerOf(new Kernel(usable + 1), strategy, members), picks);
  const first = counts.slice(0, 100).reduce((sum, c) => sum + c, 0);
  return binomial(`${usable} % usable`, Math.min(1, (1.4 * usable) / 100), first, picks);
}

function boundedLoad(lab: Lab): Finding[] {
  const n = 100;
  const m = 10_000;
  const epsilon = 0.1;
  const first = lab.strategy('rendezvous');
  const finalCap = Math.ceil(((1 + epsilon) * m) / n);
  const put = (minCap: number): { most: number; excess: number; share: number } => {
    const kernel = new Kernel(29);
    const picker = pickerOf(kernel, lab.strategy('bounded-rendezvous', { epsilon, minCap }), some(n));
    const ideal = pickerOf(kernel, first, some(n));
    const counts = Array.from({ length: n }, () => 0);
    let excess = 0;
    let firstChoice = 0;
    for (let ball = 0; ball < m; ball++) {
      const key = mix32(ball + 1);
      const index = pickOf(picker, key);
      if (index === pickOf(ideal, key)) firstChoice++;
      picker.lease(index);
      counts[index] = counts[index]! + 1;
      if (counts[index] > Math.max(minCap, Math.ceil(((1 + epsilon) * (ball + 1)) / n))) excess++;
    }
    return { most: Math.max(...counts), excess, share: firstChoice / m };
  };
  const fixed = put(finalCap);
  const growing = put(1);
  return [
    holds('cap as final: max', `≤ ${finalCap}`, String(fixed.most), fixed.most <= finalCap),
    within('cap as final: first choice', 0.9905, fixed.share, 0.005),
    holds('cap growing: steps above ⌈(1+ε)m/n⌉', '0', String(growing.excess), growing.excess === 0),
  ];
}

function removal(lab: Lab): Finding[] {
  const ids = Array.from({ length: 10 }, (_, i) => ({ id: `pool#${i}` }));
  const picker = pickerOf(new Kernel(30), lab.strategy('rendezvous'), ids);
  const keys = 100_000;
  const before = Array.from({ length: keys }, (_, k) => pickOf(picker, mix32(k + 1)));
  picker.resize(replicasOf(ids.filter((_, i) => i !== 3)));
  let moved = 0;
  let collateral = 0;
  for (let k = 0; k < keys; k++) {
    const id = picker.view.id[pickOf(picker, mix32(k + 1))];
    if (id === `pool#${before[k]!}`) continue;
    if (before[k] === 3) moved++;
    else collateral++;
  }
  return [
    binomial('keys moved', 0.1, moved, keys),
    holds('keys of others moved', '0', String(collateral), collateral === 0),
  ];
}

function weights(lab: Lab): Finding[] {
  const order = pickerOf(new Kernel(31), lab.strategy('weighted-round-robin', { order: 'smooth' }), [
    { weight: 5 },
    { weight: 1 },
    { weight: 1 },
  ]);
  const turns = Array.from({ length: 14 }, () => 'abc'[pickOf(order)]).join('');
  const edf = countsOf(
    pickerOf(new Kernel(32), lab.strategy('weighted-round-robin'), [
      { weight: 3 },
      { weight: 2 },
      { weight: 1 },
    ]),
    60,
  );
  return [
    holds('smooth 5,1,1', 'aabacaaaabacaa', turns, turns === 'aabacaaaabacaa'),
    // A random start may move one turn across the end of the sixty.
    holds(
      'EDF 3,2,1 × 60',
      '30,20,10 ±1',
      edf.join(','),
      [30, 20, 10].every((want, i) => Math.abs(edf[i]! - want) <= 1),
    ),
  ];
}

function ties(lab: Lab): Finding[] {
  return (['least-outstanding', 'ewma-least-outstanding'] as const).map((name) => {
    const { shares } = simulate(
      {
        servers: some(10).map(() => ({})),
        strategy: () => lab.strategy(name),
        size: exponential(1),
        gaps: poisson(0.5),
        requests: Math.round(40_000 * Math.max(0.25, lab.scale)),
      },
      35,
    );
    const most = Math.max(...shares);
    // Index ties would give the first of ten 66.8 % (routing.md §1.2). Costs differ by chance, so EWMA is less even.
    const limit = name === 'least-outstanding' ? 0.12 : 0.3;
    return holds(`${name}: busiest share`, `< ${limit}`, most.toFixed(3), most < limit);
  });
}

function failover(lab: Lab): Finding[] {
  const strategy = lab.strategy('priority-failover');
  const share = (first: Availability): number => {
    const members = [{ tier: 1 }, { tier: 0, availability: first }, { tier: 1 }];
    return countsOf(pickerOf(new Kernel(36), strategy, members), 1_000)[1]! / 1_000;
  };
  const [up, down] = [share('usable'), share('impossible')];
  return [
    holds('first while it is up', '1', String(up), up === 1),
    holds('first while it is down', '0', String(down), down === 0),
  ];
}

export const POOLS: readonly Experiment[] = [
  {
    id: 'V18',
    what: 'balls into bins, E[max], random',
    run: (lab) =>
      (
        [
          [10, 10, 2.74869, 4_000],
          [100, 100, 4.2326, 600],
          [1_000, 1_000, 5.5142, 150],
          [10, 100, 15.1245, 1_500],
          [100, 1_000, 18.7617, 200],
          [5, 50, 13.7976, 2_000],
        ] as const
      ).map(([bins, balls, expected, times]) =>
        near(
          `${balls} into ${bins}`,
          expected,
          fullest(lab, bins, balls, Math.max(60, times * lab.scale)),
          0.03 * lab.slack,
        ),
      ),
  },
  {
    id: 'V20',
    what: 'panic with maxEffort 4 around p2c, n=100',
    run: (lab) => [50, 70, 90].flatMap((bad) => panics(lab, bad)),
  },
  {
    id: 'V21',
    what: 'black hole share of p2c-peak-ewma without penalty, n=10',
    run: (lab) => {
      const results = lab.seeds.map((seed) =>
        simulate(
          {
            servers: some(10).map((_, i) =>
              i === 0 ? { faults: [{ kind: 'fail', from: 0, to: Infinity, afterMs: 1 }] } : {},
            ),
            strategy: () => lab.strategy('p2c-peak-ewma', { penaltyMs: 0 }),
            size: exponential(10),
            gaps: poisson(0.5),
            requests: Math.round(100_000 * lab.scale),
          },
          seed,
        ),
      );
      return [
        near(
          'share',
          0.2,
          results.map((r) => r.shares[0]!),
          0.03 * lab.slack,
        ),
      ];
    },
  },
  {
    id: 'V22',
    what: 'success-rate ejection: k equally bad of n, while k/n < .2169',
    run: () =>
      (
        [
          [5, 1],
          [10, 2],
          [20, 4],
        ] as const
      )
        .flatMap(([n, most]) => [
          within(`n=${n}, ${most} bad: ejected`, most, ejectedBySuccessRate(n, most), 0),
          within(`n=${n}, ${most + 1} bad: ejected`, 0, ejectedBySuccessRate(n, most + 1), 0),
        ])
        .concat(within('n=4, 1 bad: ejected', 0, ejectedBySuccessRate(4, 1), 0)),
  },
  { id: 'V29', what: 'bounded-rendezvous ε=.1, 10⁴ into 100', run: boundedLoad },
  { id: 'V30', what: 'rendezvous, 1 of 10 removed', run: removal },
  { id: 'V31', what: 'weighted round robin', run: weights },
  {
    id: 'V32',
    what: 'peak EWMA τ=10 s, sample 100',
    run: (lab) => [
      near('idle 1 s', 90.484, peakCostAfter(lab, 1_000, [100]), 0.002),
      near('idle 5 s', 60.653, peakCostAfter(lab, 5_000, [100]), 0.002),
      near('idle 10 s', 36.788, peakCostAfter(lab, 10_000, [100]), 0.002),
      near('a larger one at once', 200 * Math.exp(-0.1), peakCostAfter(lab, 1_000, [100, 200]), 0.002),
    ],
  },
  {
    id: 'V33',
    what: 'priority spill × 1.4',
    // Envoy's table has these in whole percents: 100, 99, 70, 35, 0.
    run: (lab) => [72, 71, 50, 25, 0].map((usable) => spill(lab, usable)),
  },
  { id: 'V35', what: 'ties at light load, n=10 ρ=.05', run: ties },
  { id: 'V36', what: 'priority failover', run: failover },
];

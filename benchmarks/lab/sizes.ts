import type { Random } from '../../lib/core/ports.ts';

/** Draws the work of one request, milliseconds on a server of speed 1. */
export type Size = (random: Random) => number;

/** A draw that is never 0, for logarithms. */
const open = (random: Random): number => 1 - random();

export function exponential(mean: number): Size {
  return (random) => -mean * Math.log(open(random));
}

export function constant(mean: number): Size {
  return () => mean;
}

/** Log-normal with the given mean; σ 1 has a squared coefficient of variation of e − 1 = 1.7183. */
export function lognormal(mean: number, sigma = 1): Size {
  const mu = Math.log(mean) - (sigma * sigma) / 2;
  return (random) => {
    const radius = Math.sqrt(-2 * Math.log(open(random)));
    return Math.exp(mu + sigma * radius * Math.cos(2 * Math.PI * random()));
  };
}

/** Pareto between 1 and `ratio` times its least value, scaled to the mean. */
export function boundedPareto(mean: number, alpha = 1.5, ratio = 1_000): Size {
  const tail = ratio ** -alpha;
  const unit = (alpha / (alpha - 1)) * ((1 - ratio ** (1 - alpha)) / (1 - tail));
  const least = mean / unit;
  return (random) => least * (1 - random() * (1 - tail)) ** (-1 / alpha);
}

/** Mostly short, now and then fifty times as long: 98 % × 0.5, 2 % × 25.5 of the mean (5 and 255 for a mean of 10). */
export function bimodal(mean: number): Size {
  return (random) => mean * (random() < 0.98 ? 0.5 : 25.5);
}

/** Gaps between arrivals, milliseconds. A maker: what a stream has to remember belongs to one run. */
export type Gaps = (random: Random) => () => number;

export function poisson(perMs: number): Gaps {
  const gap = exponential(1 / perMs);
  return (random) => () => gap(random);
}

/** Bursts: a Poisson stream whose rate is `factor` times as high in one of two states of equal mean length. */
export function bursty(perMs: number, factor = 5, stateMs = 1_000): Gaps {
  const low = (2 * perMs) / (1 + factor);
  return (random) => {
    let high = false;
    let left = 0;
    return () => {
      let gap = 0;
      for (;;) {
        if (left <= 0) {
          high = !high;
          left = -stateMs * Math.log(open(random));
        }
        const next = -Math.log(open(random)) / (high ? low * factor : low);
        // Without memory: what did not come in this state is drawn anew in the next.
        if (next <= left) {
          left -= next;
          return gap + next;
        }
        gap += left;
        left = 0;
      }
    };
  };
}

/** Keys 0 … count − 1, key k with a weight of (k + 1)^−α. */
export function zipf(count: number, alpha: number): (random: Random) => number {
  const upTo = new Float64Array(count);
  let sum = 0;
  for (let k = 0; k < count; k++) {
    sum += (k + 1) ** -alpha;
    upTo[k] = sum;
  }
  return (random) => {
    const at = random() * sum;
    let low = 0;
    let high = count - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (upTo[middle]! > at) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}

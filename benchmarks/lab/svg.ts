/** Small line charts, written by hand: no browser, no library. */
export interface Line {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface Chart {
  readonly title: string;
  readonly x: string;
  readonly y: string;
  /** Default linear. */
  readonly logX?: boolean;
  readonly logY?: boolean;
  readonly lines: readonly Line[];
}

const WIDTH = 760;
const HEIGHT = 420;
const LEFT = 64;
const RIGHT = 190;
const TOP = 36;
const BOTTOM = 48;
const COLOURS = ['#0b6e99', '#d9480f', '#2b8a3e', '#862e9c', '#c92a2a', '#5c940d', '#364fc7', '#846358'];

export function svgOf({ title, x, y, logX = false, logY = false, lines }: Chart): string {
  const sx = scaleOf(
    lines.flatMap((l) => l.points.map((p) => p[0])),
    logX,
    LEFT,
    WIDTH - RIGHT,
  );
  const sy = scaleOf(
    lines.flatMap((l) => l.points.map((p) => p[1])),
    logY,
    HEIGHT - BOTTOM,
    TOP,
  );
  const body = lines.map(({ name, points }, i) => {
    const colour = COLOURS[i % COLOURS.length]!;
    const path = points.map(
      ([px, py], k) => `${k === 0 ? 'M' : 'L'}${sx.at(px).toFixed(1)} ${sy.at(py).toFixed(1)}`,
    );
    const at = TOP + 14 + 18 * i;
    return (
      `<path d="${path.join('')}" fill="none" stroke="${colour}" stroke-width="1.8"/>` +
      `<path d="M${WIDTH - RIGHT + 12} ${at}h18" stroke="${colour}" stroke-width="3"/>` +
      `<text x="${WIDTH - RIGHT + 36}" y="${at + 4}">${escaped(name)}</text>`
    );
  });
  const grid = [
    ...sx.ticks.map(
      (t) =>
        `<path d="M${sx.at(t).toFixed(1)} ${TOP}V${HEIGHT - BOTTOM}" stroke="#ddd"/>` +
        `<text x="${sx.at(t).toFixed(1)}" y="${HEIGHT - BOTTOM + 16}" text-anchor="middle">${label(t)}</text>`,
    ),
    ...sy.ticks.map(
      (t) =>
        `<path d="M${LEFT} ${sy.at(t).toFixed(1)}H${WIDTH - RIGHT}" stroke="#ddd"/>` +
        `<text x="${LEFT - 6}" y="${(sy.at(t) + 4).toFixed(1)}" text-anchor="end">${label(t)}</text>`,
    ),
  ];
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">` +
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>${grid.join('')}${body.join('')}` +
    `<text x="${LEFT}" y="20" font-size="15">${escaped(title)}</text>` +
    `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 10}" text-anchor="middle">${escaped(x)}</text>` +
    `<text transform="translate(14 ${HEIGHT / 2}) rotate(-90)" text-anchor="middle">${escaped(y)}</text></svg>\n`
  );
}

interface Scale {
  at(value: number): number;
  readonly ticks: readonly number[];
}

function scaleOf(values: readonly number[], log: boolean, from: number, to: number): Scale {
  const fit = values.filter((v) => Number.isFinite(v) && (!log || v > 0));
  let low = fit.reduce((a, b) => Math.min(a, b), Infinity);
  let high = fit.reduce((a, b) => Math.max(a, b), -Infinity);
  if (!(high > low)) [low, high] = [log ? low / 2 : low - 1, log ? low * 2 : low + 1];
  const turned = (v: number): number => (log ? Math.log(Math.max(v, low)) : v);
  const span = turned(high) - turned(low);
  const ticks: number[] = [];
  if (log) {
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
      for (const digit of high / low > 100 ? [1] : [1, 2, 5]) {
        const tick = digit * 10 ** power;
        if (tick >= low && tick <= high) ticks.push(tick);
      }
    }
  } else {
    const rough = (high - low) / 6;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= rough)!;
    for (let tick = Math.ceil(low / step) * step; tick <= high + step * 1e-9; tick += step) ticks.push(tick);
  }
  return { at: (v) => from + ((turned(v) - turned(low)) / span) * (to - from), ticks };
}

function label(value: number): string {
  return String(+value.toPrecision(6));
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** Share of the latencies up to a value, at a hundred places and more of them in the tail. */
export function distribution(name: string, sorted: ArrayLike<number>): Line {
  const shares = [...Array.from({ length: 99 }, (_, i) => (i + 1) / 100), 0.995, 0.999, 0.9999];
  const at = (q: number): number => sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)]!;
  return { name, points: sorted.length === 0 ? [] : shares.map((q) => [Math.max(at(q), 1e-6), q] as const) };
}

/** One promise and what came of it. */
export interface Check {
  readonly what: string;
  readonly figure: string;
  readonly floor: string;
  readonly ok: boolean;
}

export function atMost(what: string, value: number, limit: number, unit = ''): Check {
  return { what, figure: `${shown(value)}${unit}`, floor: `≤ ${shown(limit)}${unit}`, ok: value <= limit };
}

export function atLeast(what: string, value: number, limit: number, unit = ''): Check {
  return { what, figure: `${shown(value)}${unit}`, floor: `≥ ${shown(limit)}${unit}`, ok: value >= limit };
}

function shown(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(value >= 100 ? 0 : 2);
}

/** Nothing of this may be there; what is there is shown. */
export function none(what: string, found: readonly string[]): Check {
  const shown =
    found.length === 0
      ? '0'
      : `${found.length}: ${found.slice(0, 3).join('; ').replaceAll(/\s+/g, ' ').slice(0, 200)}`;
  return { what, figure: shown, floor: '0', ok: found.length === 0 };
}

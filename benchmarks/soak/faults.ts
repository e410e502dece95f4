import type { Random } from '../../lib/index.ts';

/** Every way in which a server goes wrong (reliability §5.2), and for how long at a time. Milliseconds: from, to. */
export const STDIO_FAULTS = {
  'kill -9': [0, 0],
  SIGSTOP: [400, 1_800],
  'exit mid-reply': [1_000, 1_000],
  hang: [800, 1_500],
  latency: [1_000, 2_000],
  garbage: [600, 1_000],
  'partial line': [600, 1_000],
  duplicate: [600, 1_000],
  'wrong id': [600, 1_000],
  '12 MB reply': [600, 900],
  'notification flood': [300, 600],
  'list_changed storm': [300, 600],
  'stdout close': [300, 500],
  'stderr flood': [300, 600],
  'not reading stdin': [600, 1_500],
} as const satisfies Record<string, readonly [number, number]>;

export const HTTP_FAULTS = {
  '401': [200, 400],
  '404': [150, 300],
  '429': [300, 600],
  '500': [300, 600],
  '503': [300, 600],
  reset: [300, 600],
  'SSE cut': [300, 600],
  'SSE silence': [600, 1_200],
  gzip: [300, 600],
  'wrong type': [300, 600],
  '421': [300, 600],
} as const satisfies Record<string, readonly [number, number]>;

export type FaultKind = keyof typeof STDIO_FAULTS | keyof typeof HTTP_FAULTS;
export type FaultTransport = 'stdio' | 'http';

export interface FaultOrder {
  readonly kind: FaultKind;
  readonly ms: number;
}

/** Which fault comes next: the one that was seen least so far, chance decides among equals. */
export interface FaultPlan {
  next(transport: FaultTransport): FaultOrder;
  /** The fault took effect this often; 0 does not count. */
  seen(kind: FaultKind, hits: number): void;
  readonly counts: ReadonlyMap<FaultKind, number>;
  /** The least of all counts. */
  readonly least: number;
}

export function createFaultPlan(random: Random): FaultPlan {
  const tables: Readonly<Record<FaultTransport, Readonly<Record<string, readonly [number, number]>>>> = {
    stdio: STDIO_FAULTS,
    http: HTTP_FAULTS,
  };
  const counts = new Map<FaultKind, number>();
  const underWay = new Map<FaultKind, number>();
  for (const table of Object.values(tables))
    for (const kind of Object.keys(table)) counts.set(kind as FaultKind, 0);
  const weight = (kind: FaultKind): number => (counts.get(kind) ?? 0) + (underWay.get(kind) ?? 0);
  return {
    counts,
    get least() {
      return Math.min(...counts.values());
    },
    next(transport) {
      const kinds = Object.keys(tables[transport]) as FaultKind[];
      const least = Math.min(...kinds.map(weight));
      const among = kinds.filter((kind) => weight(kind) === least);
      const kind = among[Math.floor(random() * among.length)] as FaultKind;
      underWay.set(kind, (underWay.get(kind) ?? 0) + 1);
      const [from, to] = tables[transport][kind] as readonly [number, number];
      return { kind, ms: Math.round(from + random() * (to - from)) };
    },
    seen(kind, hits) {
      underWay.set(kind, (underWay.get(kind) ?? 1) - 1);
      if (hits > 0) counts.set(kind, (counts.get(kind) ?? 0) + 1);
    },
  };
}

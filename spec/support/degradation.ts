/** What is left when a server is not well: shown in the README, and each row is a spec (`spec/engine/degradation.spec.ts`). */
export interface Degradation {
  /** Names the spec of the row. */
  readonly id: string;
  readonly condition: string;
  readonly works: string;
  readonly sees: string;
}

export const DEGRADATIONS = [
  {
    id: 'down',
    condition: 'A server is down',
    works:
      'all other servers; its last known lists, marked `stale: true`; resources read before, for a minute after they expired; it is connected again by itself',
    sees: '`unavailable` with the reason, `delivery: "unsent"`; `Error` in the fleet; a row in `failures` of a list',
  },
  {
    id: 'slow',
    condition: 'A server is slow',
    works: 'all other servers, at their own speed; its lists; whatever it answers within the deadline',
    sees: '`deadline_exceeded` at the deadline, and the call is cancelled at the server; soon `circuit_open` at once, with `retryAfterMs`',
  },
  {
    id: 'unauthenticated',
    condition: 'A server refuses our credentials (401)',
    works:
      'all other servers; its last known lists, marked `stale: true`; everything again after `authorize()`',
    sees: '`auth_required`; the event `auth.required`; `AuthRequired` in the fleet',
  },
  {
    id: 'limited',
    condition: 'A server is over its limit (429)',
    works:
      'all other servers; its calls too, repeated when `Retry-After` is over, where that is before the deadline; nothing runs twice',
    sees: 'a slower answer, else `rate_limited` at once, with `retryAfterMs`; the server stays `usable`',
  },
  {
    id: 'bad-tool',
    condition: 'One tool of a server is malformed',
    works: 'all other tools of that server',
    sees: 'the tool is not listed; the event `catalog.item_skipped` says why; calling it is `not_found`',
  },
  {
    id: 'lists-fail',
    condition: 'The lists of a server fail, its calls work',
    works: 'calls of what it listed before; its other lists',
    sees: 'the last known items, marked `stale: true`, and a row in `failures`',
  },
] as const satisfies readonly Degradation[];

export type DegradationId = (typeof DEGRADATIONS)[number]['id'];

/** The table as Markdown. */
export function degradationTable(): string {
  const lines = DEGRADATIONS.map(
    ({ condition, works, sees }) =>
      `| ${[condition, works, sees].map((cell) => cell.replaceAll('|', String.raw`\|`)).join(' | ')} |`,
  );
  return ['| Condition | What still works | What the caller sees |', '|---|---|---|', ...lines, ''].join(
    '\n',
  );
}

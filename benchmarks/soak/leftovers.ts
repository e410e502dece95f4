import { readFileSync, readdirSync } from 'node:fs';

/** Living processes that carry the marker in their environment: servers of ours, and their children. */
export function processesWith(marker: string): string[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((pid) => {
      try {
        if (!readFileSync(`/proc/${pid}/environ`, 'latin1').includes(marker)) return [];
        const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
        const state = stat.replace(/^.*\) /s, '')[0];
        return state === 'Z' ? [] : [`${pid} ${stat.slice(stat.indexOf('('), stat.lastIndexOf(')') + 1)}`];
      } catch {
        // It has ended while we looked.
        return [];
      }
    });
}

export interface Held {
  readonly resources: readonly string[];
  readonly listeners: Readonly<Record<string, number>>;
}

/** What keeps this process alive or busy. */
export function held(): Held {
  return {
    resources: process.getActiveResourcesInfo(),
    listeners: Object.fromEntries(
      process.eventNames().map((name) => [String(name), process.listenerCount(name)]),
    ),
  };
}

/** What is there now and was not before. */
export function leftSince(before: Held): string[] {
  const now = held();
  const rest = [...now.resources];
  for (const resource of before.resources) {
    const at = rest.indexOf(resource);
    if (at >= 0) rest.splice(at, 1);
  }
  const listeners = Object.entries(now.listeners)
    .filter(([name, count]) => count > (before.listeners[name] ?? 0))
    .map(([name, count]) => `${count - (before.listeners[name] ?? 0)} listeners of ${name}`);
  return [...rest, ...listeners];
}

import type { ResolvedServer } from '../config/config.ts';

type Rules = ResolvedServer['tools'];

/** Whether the configuration leaves any tool out. */
export function refusesTools({ include, exclude }: Rules): boolean {
  return include !== undefined || exclude.length > 0;
}

/** Whether it lets this one be, by its original name. */
export function admitsTool({ include, exclude }: Rules, name: unknown): boolean {
  return typeof name === 'string' && (include?.includes(name) ?? true) && !exclude.includes(name);
}

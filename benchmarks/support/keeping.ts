/** What was asked for on the command line, as far as it makes a run less than a measurement. */
export interface Asked {
  readonly quick: boolean;
  readonly transport?: readonly string[] | undefined;
  readonly rounds?: number | undefined;
}

/** Why a run replaces nothing that is kept; undefined where it is a measurement, of at least `rounds` rounds. */
export function whyNotKept({ quick, transport, rounds }: Asked, needed: number): string | undefined {
  if (quick) return 'a quick run';
  if (transport !== undefined) return `${transport.join(' and ')} alone`;
  if (rounds !== undefined && rounds < needed) return `${rounds} of the ${needed} rounds of a measurement`;
  return undefined;
}

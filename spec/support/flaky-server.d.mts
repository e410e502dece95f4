/** The tools of the flaky server. */
export const TOOLS: readonly Readonly<Record<string, unknown>>[];

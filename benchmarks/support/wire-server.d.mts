export function reply(request: { id?: unknown; method: string; params?: unknown }): Record<string, unknown>;

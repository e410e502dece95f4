import { fileURLToPath } from 'node:url';

export interface WireServerSettings {
  readonly startMs?: number;
  readonly firstMs?: number;
  readonly eachMs?: number;
  readonly never?: boolean;
  readonly tools?: number;
  readonly spawned?: string;
  readonly modern?: boolean;
}

/** How to start the light server of `wire-server.mjs`. */
export function wireServer(settings: WireServerSettings = {}): {
  readonly command: string;
  readonly args: string[];
} {
  const script = fileURLToPath(new URL('wire-server.mjs', import.meta.url));
  return { command: process.execPath, args: [script, JSON.stringify(settings)] };
}

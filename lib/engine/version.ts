import { readFileSync } from 'node:fs';

const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

/** What the engine says of itself to servers. */
export const CLIENT_INFO = Object.freeze({ name: 'mcp-troupe', version: manifest.version });

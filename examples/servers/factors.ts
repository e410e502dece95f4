import { fileURLToPath } from 'node:url';

/** How to start `factors.mjs`: plain Node, no package to fetch. */
export const factorsServer = {
  command: process.execPath,
  args: [fileURLToPath(new URL('factors.mjs', import.meta.url))],
};

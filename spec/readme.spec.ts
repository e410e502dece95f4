import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from '@jest/globals';
import { drawReadme } from './support/readme.ts';

const text = readFileSync(fileURLToPath(new URL('../README.md', import.meta.url)), 'utf8');

it('shows the machines, the options and the error codes as they are (run `npm run readme`)', () => {
  expect(drawReadme(text)).toBe(text);
});

/**
 * The conformance suite imports `fs.globSync`, which Node has from 22 on, for a command that is not used here. This
 * loader gives it one that finds nothing, so that the suite starts on Node 20.
 */
import { register } from 'node:module';

register(
  'data:text/javascript,' +
    encodeURIComponent(`
export async function resolve(specifier, context, next) {
  const fromSuite = context.parentURL?.includes('@modelcontextprotocol/conformance/dist/');
  if ((specifier === 'fs' || specifier === 'node:fs') && fromSuite) return { url: 'fsshim:fs', shortCircuit: true };
  return next(specifier, context);
}
export async function load(url, context, next) {
  if (url !== 'fsshim:fs') return next(url, context);
  const source = "import fs from 'node:fs'; export * from 'node:fs'; export default fs; export const globSync = fs.globSync ?? (() => []);";
  return { format: 'module', shortCircuit: true, source };
}
`),
);

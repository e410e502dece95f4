import { isTroupeError, TroupeError } from '../core/errors.ts';
import { createRedactor } from '../security/redaction.ts';
import { cleanError } from './clean.ts';
import {
  headerSecrets,
  isSecretField,
  keyLines,
  looksSecret,
  secretArguments,
  urlSecrets,
} from './secrets.ts';

/** Deeper than any configuration. */
const MAX_DEPTH = 12;
const MAX_VALUES = 20_000;

/**
 * The work of reading what the host has written; what it throws repeats no secret of that. No engine is there yet whose
 * redactor would know them: they are looked for in `written` itself, and only once something was thrown.
 */
export function judged<T>(written: unknown, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const redactor = createRedactor(secretsWritten(written));
    throw cleanError(isTroupeError(error) ? error : TroupeError.from(error), redactor);
  }
}

/** Whatever looks like a secret in a configuration of any shape, valid or not. */
export function secretsWritten(written: unknown): readonly string[] {
  const found: string[] = [];
  const seen = new Set<object>();
  const visit = (value: unknown, name: string, parent: string, depth: number): void => {
    if (typeof value === 'string') {
      found.push(...secretsOfText(value, name, parent));
    } else if (value instanceof URL) {
      found.push(...urlSecrets(value.href));
    } else if (value instanceof Uint8Array) {
      if (isSecretField(name)) visit(Buffer.from(value).toString('latin1'), name, parent, depth);
    } else if (typeof value === 'object' && value !== null) {
      if (depth > MAX_DEPTH || seen.size > MAX_VALUES || seen.has(value)) return;
      seen.add(value);
      if (Array.isArray(value)) {
        if (value.every((item) => typeof item === 'string')) found.push(...secretArguments(value));
        for (const item of value as unknown[]) visit(item, name, parent, depth + 1);
      } else for (const [key, item] of entriesOf(value)) visit(item, key, name, depth + 1);
    }
  };
  visit(written, '', '', 0);
  return found;
}

function secretsOfText(text: string, name: string, parent: string): readonly string[] {
  if (parent === 'headers') return headerSecrets(name, text);
  if (isSecretField(name) || looksSecret(text)) return [text, ...keyLines(text)];
  return urlSecrets(text);
}

function entriesOf(value: object): Array<[string, unknown]> {
  try {
    return Object.entries(value);
  } catch {
    // A getter of the host that throws: what it hides was not read either.
    return [];
  }
}

import { TroupeError } from '../core/errors.ts';
import { isJson } from '../core/json-rpc.ts';

/** A JSON pointer (RFC 6901), read once. Finds own members only. */
export type JsonPointer = (document: unknown) => unknown;

/** Throws `config_invalid` naming `field` when the text is not a pointer. */
export function jsonPointer(text: string, field: string): JsonPointer {
  if (text !== '' && !text.startsWith('/')) {
    throw new TroupeError(
      'config_invalid',
      `${field}: a JSON pointer starts with "/", for example "/sessionId"`,
      {
        data: { field },
      },
    );
  }
  const steps = text
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
  return (document) => {
    let at = document;
    for (const step of steps) {
      if (Array.isArray(at)) at = /^(0|[1-9]\d*)$/.test(step) ? (at as unknown[])[Number(step)] : undefined;
      else at = isJson(at) && Object.hasOwn(at, step) ? at[step] : undefined;
    }
    return at;
  };
}

import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { errorText, plainText } from '../../core/errors.ts';
import type { Json } from '../../core/json-rpc.ts';
import type { Limits } from '../../core/limits.ts';
import { boundedText } from './schema-caps.ts';
import { WORK_PER_CHECK, compileSchema } from './schema-compiler.ts';
import type { CheckError, Compiled } from './schema-compiler.ts';

/**
 * `unsupported`: nothing is known, because the schema cannot be checked (remote `$ref`, look-around in a pattern, too
 * large) or the value would take too long; the caller goes on and reports it once.
 */
export type Validation =
  | { readonly outcome: 'valid' }
  | { readonly outcome: 'invalid'; readonly reason: string }
  | { readonly outcome: 'unsupported'; readonly reason: string };

export interface Validators {
  /**
   * Checks `value` against a schema a server gave. `where` opens the reason: `structuredContent of tool "x"`. The
   * schema is compiled at its first use. Never throws; a reason is one line of at most 2 KB.
   */
  check(schema: Json | boolean, value: unknown, where: string): Validation;
  /** Compiled schemas held. */
  readonly size: number;
}

export interface ValidatorsOptions {
  readonly limits: Pick<Limits, 'schemaBytes' | 'schemaDepth' | 'schemaRefs'>;
  /** Compiled schemas kept, least recently used go first. Default 1 000. */
  readonly maxSchemas?: number;
  /** Bytes of schema text whose compiled form is kept; it takes 20 to 60 times that. Default 1 MB. */
  readonly maxSchemaBytes?: number;
}

const DEFAULT_MAX_SCHEMAS = 1_000;
const DEFAULT_MAX_SCHEMA_BYTES = 1_048_576;
const REFUSAL_BYTES = 1_024;
const TOO_LARGE = 'too large';
const VALID: Validation = { outcome: 'valid' };

type Unsupported = Extract<Validation, { outcome: 'unsupported' }>;

interface Entry {
  readonly bytes: number;
  readonly use: Compiled | Unsupported;
}

/**
 * One for all servers of an engine. Schemas are known by their content, so nothing a server says about the identity of
 * a schema (`$id`) can touch another's, and a list that is read again compiles nothing again.
 */
export function createValidators(options: ValidatorsOptions): Validators {
  const compiled = new LRUCache<string, Entry>({
    max: options.maxSchemas ?? DEFAULT_MAX_SCHEMAS,
    maxSize: options.maxSchemaBytes ?? DEFAULT_MAX_SCHEMA_BYTES,
    sizeCalculation: (entry) => entry.bytes,
  });
  /** The hash of a schema object, so that it is taken once per object; what is compiled stays in the bounded store. */
  const hashes = new WeakMap<object, string>();

  const compile = (text: string | undefined): Entry => {
    if (text === undefined)
      return { bytes: 1, use: refused(`schema is larger than ${options.limits.schemaBytes} bytes`) };
    try {
      return { bytes: text.length, use: compileSchema(text, options.limits) };
    } catch (error) {
      return { bytes: REFUSAL_BYTES, use: refused(`schema cannot be used: ${errorText(error)}`) };
    }
  };

  const find = (schema: Json): Entry['use'] => {
    let hash = hashes.get(schema);
    let entry = hash === undefined ? undefined : compiled.get(hash);
    if (entry !== undefined) return entry.use;
    const text = boundedText(schema, options.limits.schemaBytes);
    hash ??= text === undefined ? TOO_LARGE : createHash('sha256').update(text).digest('base64');
    hashes.set(schema, hash);
    entry = compiled.get(hash) ?? compile(text);
    compiled.set(hash, entry);
    return entry.use;
  };

  return {
    check(schema, value, where) {
      if (typeof schema === 'boolean') {
        return schema ? VALID : { outcome: 'invalid', reason: plainText(`${where} is not allowed`) };
      }
      const use = find(schema);
      if ('outcome' in use) return { ...use, reason: plainText(`${where}: ${use.reason}`) };
      const { validate, budget } = use;
      budget.left = WORK_PER_CHECK;
      try {
        if (validate(value)) return VALID;
        return { outcome: 'invalid', reason: describe(where, validate.errors?.at(-1)) };
      } catch (error) {
        return { outcome: 'unsupported', reason: plainText(`${where}: ${errorText(error)}`) };
      } finally {
        validate.errors = null;
      }
    },
    get size() {
      return compiled.size;
    },
  };
}

function refused(reason: string): Unsupported {
  return { outcome: 'unsupported', reason: plainText(reason) };
}

function describe(where: string, error: CheckError | undefined): string {
  if (error === undefined) return plainText(where);
  const extra: unknown = error.params['additionalProperty'] ?? error.params['unevaluatedProperty'];
  const named = typeof extra === 'string' ? ` ("${extra.slice(0, 100)}")` : '';
  return plainText(`${where}${error.instancePath} ${error.message ?? 'is invalid'}${named}`);
}

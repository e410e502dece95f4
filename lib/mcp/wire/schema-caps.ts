import { isJson } from '../../core/json-rpc.ts';

/** Key of our own keyword; what a server writes under it is thrown away. */
export const COST_KEYWORD = '$troupe-cost';

/** What checking one value against one subschema costs, beside what its subschemas cost. Units of `WorkBudget`. */
export interface SchemaCost {
  readonly fixed: number;
  /** Per item of an array, per property of an object, per character of a string. */
  readonly perItem: number;
  readonly perProperty: number;
  readonly perCharacter: number;
  /** Each item is compared with each. */
  readonly pairs: boolean;
}

export interface SchemaCaps {
  /** Nesting of subschemas, levels. */
  readonly depth: number;
  readonly refs: number;
  /** Keywords that have to be compiled, names of dependents included. */
  readonly keywords: number;
}

/**
 * Makes a schema of unknown origin fit to be compiled: throws where it is over a cap, drops what is only description
 * or would change what compiling means, and puts its cost on every subschema. Changes `schema`, which is a fresh copy.
 */
export function prepareSchema(schema: unknown, caps: SchemaCaps): void {
  let refs = 0;
  let keywords = 0;

  const visit = (value: unknown, depth: number): void => {
    if (Array.isArray(value)) for (const item of value) visit(item, depth);
    else if (isJson(value)) visitSchema(value, depth);
  };

  const visitSchema = (schema: Record<string, unknown>, depth: number): void => {
    if (depth > caps.depth) throw new Error(`schema is nested more than ${caps.depth} levels deep`);
    for (const key of DROPPED) delete schema[key];
    if (typeof schema['id'] === 'string') delete schema['id'];
    for (const key of REFERENCES) {
      const ref = schema[key];
      if (typeof ref !== 'string') continue;
      refs += 1;
      if (refs > caps.refs) throw new Error(`schema has more than ${caps.refs} references`);
      if (pointsIntoData(ref)) throw new Error('a reference into `const` or `enum` is not supported');
    }
    keywords +=
      Object.keys(schema).length + namesIn(schema['dependentRequired']) + namesIn(schema['dependencies']);
    if (keywords > caps.keywords) throw new Error(`schema has more than ${caps.keywords} keywords`);
    const cost = costOf(schema);
    for (const key of Object.keys(schema)) {
      const value = schema[key];
      if (key === 'const' || (key === 'enum' && Array.isArray(value))) continue;
      if (MAPS.has(key) && isJson(value))
        for (const name of Object.keys(value)) visit(value[name], depth + 1);
      else visit(value, depth + 1);
    }
    schema[COST_KEYWORD] = cost;
  };

  visit(schema, 0);
}

/** Whether a reference leads into the value of `const` or `enum`, which is left as it is and carries no cost. */
function pointsIntoData(ref: string): boolean {
  const hash = ref.indexOf('#');
  if (hash < 0) return false;
  let named = false;
  for (const part of decodeURIComponent(ref.slice(hash + 1))
    .split('/')
    .slice(1)) {
    if (!named && (part === 'const' || part === 'enum')) return true;
    // The part after `properties` is a name.
    named = !named && MAPS.has(part);
  }
  return false;
}

/**
 * Said to people only; or, `$async`, would make the validator answer with a promise, which is always true.
 * `default` and the like may hold anything, so they go before they are looked at.
 */
const DROPPED = [
  '$async',
  '$comment',
  COST_KEYWORD,
  'default',
  'description',
  'example',
  'examples',
  'title',
] as const;
const REFERENCES = ['$ref', '$dynamicRef', '$recursiveRef'] as const;

/** Keywords whose value maps names, not keywords, to schemas. */
const MAPS: ReadonlySet<string> = new Set([
  '$defs',
  'definitions',
  'dependencies',
  'dependentSchemas',
  'patternProperties',
  'properties',
]);
const COLLECTING = [...REFERENCES, 'anyOf', 'oneOf', 'not', 'if'] as const;
const OVER_ITEMS = [
  'items',
  'prefixItems',
  'additionalItems',
  'contains',
  'unevaluatedItems',
  'uniqueItems',
] as const;
const OVER_PROPERTIES = [
  'additionalProperties',
  'patternProperties',
  'propertyNames',
  'unevaluatedProperties',
  'minProperties',
  'maxProperties',
] as const;

const VISIT_WORK = 40;
const ENTRY_WORK = 10;
const ITEM_WORK = 10;
const PROPERTY_WORK = 60;
/** Errors of a referenced schema and of alternatives are collected and thrown away. */
const COLLECT_WORK = 400;
/** Scalars are put into a table to find one that was there before. */
const UNIQUE_WORK = 200;

function costOf(schema: Record<string, unknown>): SchemaCost {
  const has = (keys: readonly string[]): number => keys.filter((key) => schema[key] !== undefined).length;
  const pairs = schema['uniqueItems'] === true && !isScalar(schema['items']);
  const lists = [schema['required'], schema['properties'], schema['patternProperties'], schema['type']];
  const data = [schema['const'], schema['enum'], schema['dependentRequired'], schema['dependencies']];
  const entries = lists.reduce((sum: number, list) => sum + sizeOf(list), 0);
  // Comparing costs at most what stands here.
  const characters = data.reduce(
    (sum: number, value) => sum + (value === undefined ? 0 : JSON.stringify(value).length),
    0,
  );
  return {
    fixed: VISIT_WORK + entries * ENTRY_WORK + characters + has(COLLECTING) * COLLECT_WORK,
    perItem: has(OVER_ITEMS) * ITEM_WORK + (schema['uniqueItems'] === true && !pairs ? UNIQUE_WORK : 0),
    perProperty: has(OVER_PROPERTIES) * PROPERTY_WORK * (1 + sizeOf(schema['patternProperties'])),
    perCharacter: has(['minLength', 'maxLength']),
    pairs,
  };
}

function sizeOf(value: unknown): number {
  return Array.isArray(value) ? value.length : isJson(value) ? Object.keys(value).length : 0;
}

function namesIn(dependents: unknown): number {
  return isJson(dependents)
    ? Object.values(dependents).reduce((sum: number, names) => sum + 1 + sizeOf(names), 0)
    : 0;
}

/** Where ajv can see that items are scalars, it finds duplicates in one pass. */
function isScalar(items: unknown): boolean {
  const type = isJson(items) ? items['type'] : undefined;
  const types: readonly unknown[] = Array.isArray(type) ? type : type === undefined ? [] : [type];
  return types.length > 0 && !types.includes('object') && !types.includes('array');
}

/**
 * The JSON text of a schema, or undefined when it is larger than `maxBytes`: found out before it is written, because
 * writing a large one blocks. A loop of objects (possible in process) is endlessly large.
 */
export function boundedText(schema: object, maxBytes: number): string | undefined {
  const stack: unknown[] = [schema];
  let bytes = 0;
  while (stack.length > 0) {
    const value = stack.pop();
    bytes += typeof value === 'string' ? value.length + 2 : 2;
    if (bytes > maxBytes) return undefined;
    if (typeof value !== 'object' || value === null) continue;
    for (const [key, item] of Object.entries(value)) {
      bytes += Array.isArray(value) ? 1 : key.length + 4;
      stack.push(item);
    }
  }
  const text = JSON.stringify(schema);
  return text.length > maxBytes ? undefined : text;
}

import { Ajv, _ } from 'ajv';
import type { KeywordCxt, Options } from 'ajv';
import { Ajv2019 } from 'ajv/dist/2019.js';
import { Ajv2020 } from 'ajv/dist/2020.js';
import type { Limits } from '../../core/limits.ts';
import { createLinearRegExp } from './linear-regexp.ts';
import { COST_KEYWORD, prepareSchema } from './schema-caps.ts';
import type { SchemaCost } from './schema-caps.ts';
import { createWorkBudget } from './work-budget.ts';
import type { WorkBudget } from './work-budget.ts';

export interface CheckError {
  readonly instancePath: string;
  readonly message?: string;
  readonly params: Readonly<Record<string, unknown>>;
}

export interface Compiled {
  readonly validate: { (value: unknown): unknown; errors?: readonly CheckError[] | null };
  /** Set `left` before each check. */
  readonly budget: WorkBudget;
}

/** Work of one check: with it the worst schema and value found so far block the event loop for about 50 ms. */
export const WORK_PER_CHECK = 20_000_000;
/** Compiling takes 20–80 µs per keyword, the more the larger the schema is: about 50 ms in all. */
const MAX_KEYWORDS = 800;
/** Instructions of all patterns of a schema; 5–10 µs each to compile. */
const MAX_PATTERN_SIZE = 4_000;

/**
 * Compiles the JSON text of a schema that a server gave: draft-07 and 2019-09 where `$schema` says so, else 2020-12.
 * Throws when it is over a cap or cannot be understood; nothing is fetched. Each schema has an ajv of its own (80 µs),
 * so that an `$id` means something within that schema only and goes with it.
 */
export function compileSchema(text: string, limits: Pick<Limits, 'schemaDepth' | 'schemaRefs'>): Compiled {
  const schema = JSON.parse(text) as object;
  prepareSchema(schema, { depth: limits.schemaDepth, refs: limits.schemaRefs, keywords: MAX_KEYWORDS });
  const budget = createWorkBudget();
  const ajv = new (dialectOf(schema))({
    ...OPTIONS,
    code: { optimize: false, regExp: createLinearRegExp(budget, MAX_PATTERN_SIZE) },
  });
  ajv.addKeyword({
    keyword: COST_KEYWORD,
    schemaType: 'object',
    before: '$ref',
    code: (cxt) => charge(cxt, budget),
  });
  return { validate: ajv.compile(schema), budget };
}

const OPTIONS: Options = {
  allErrors: false,
  strict: false,
  // It would print what a server wrote.
  logger: false,
  validateFormats: false,
  validateSchema: false,
  meta: false,
  addUsedSchema: false,
  // Each target becomes a function; written out in place, many references to one large target would multiply the code.
  inlineRefs: false,
  // A tool may have a parameter called `constructor`.
  ownProperties: true,
  loopRequired: 20,
  loopEnum: 20,
};

function dialectOf(schema: object): typeof Ajv | typeof Ajv2019 | typeof Ajv2020 {
  const { $schema } = schema as { $schema?: unknown };
  if (typeof $schema !== 'string') return Ajv2020;
  if ($schema.includes('draft-07') || $schema.includes('draft-06')) return Ajv;
  return $schema.includes('2019-09') ? Ajv2019 : Ajv2020;
}

/** Writes into the validator: subtract the cost of this subschema, give up below zero. */
function charge({ gen, data, schema }: KeywordCxt, work: WorkBudget): void {
  const cost = schema as SchemaCost;
  const budget = gen.scopeValue('obj', { ref: work });
  gen.code(_`${budget}.left -= ${cost.fixed};`);
  if (cost.perCharacter > 0) {
    gen.code(_`if (typeof ${data} == "string") ${budget}.left -= ${data}.length * ${cost.perCharacter};`);
  }
  if (cost.perItem > 0) {
    const work = cost.pairs
      ? _`${data}.length * ${data}.length * ${cost.perItem}`
      : _`${data}.length * ${cost.perItem}`;
    gen.code(_`if (Array.isArray(${data})) ${budget}.left -= ${work};`);
  }
  if (cost.perProperty > 0) {
    gen.code(
      _`if (${data} && typeof ${data} == "object" && !Array.isArray(${data})) ${budget}.left -= Object.keys(${data}).length * ${cost.perProperty};`,
    );
  }
  gen.code(_`if (${budget}.left < 0) ${budget}.spent();`);
}

import { below, Fields, invalid, isObject, kindOf, type At, type Origin } from './fields.ts';
import { inputIds } from './interpolate.ts';
import type { Shape } from './shape.ts';

/** One entry of `inputs` of VS Code: what to ask a person before the servers start. */
export interface InputDefinition {
  readonly id: string;
  readonly type: string;
  readonly description: string | undefined;
  readonly default: string | undefined;
  /** The answer is a secret. */
  readonly password: boolean;
  readonly options: readonly string[] | undefined;
}

/** Answers to `${input:id}`: by id, or asked for one after the other. `undefined` falls back to the default of the definition. */
export type Inputs =
  | Readonly<Record<string, string | undefined>>
  | ((
      id: string,
      definition: InputDefinition | undefined,
    ) => string | undefined | Promise<string | undefined>);

/** Asks for each input that an enabled server uses, once. */
export async function answerInputs(
  shape: Shape,
  inputs: Inputs | undefined,
  origin: Origin,
): Promise<ReadonlyMap<string, string>> {
  const definitions = readDefinitions(shape, origin);
  const answers = new Map<string, string>();
  for (const entry of shape.entries) {
    if (isOff(entry.value)) continue;
    const at: At = { origin, server: entry.name, base: entry.path, path: [] };
    for (const { id, at: place } of usedIn(entry.value, at)) {
      if (answers.has(id)) continue;
      const answer = await answerOf(id, definitions.get(id), inputs, place);
      // Without an answer the field itself complains when it is expanded, and only if it is.
      if (answer !== undefined) answers.set(id, answer);
    }
  }
  return answers;
}

async function answerOf(
  id: string,
  definition: InputDefinition | undefined,
  inputs: Inputs | undefined,
  at: At,
): Promise<string | undefined> {
  let answer: unknown;
  if (typeof inputs === 'function') {
    try {
      answer = await inputs(id, definition);
    } catch (error) {
      throw invalid(at, `asks for the input "${id}", which was not answered`, 'see the cause', error);
    }
  } else if (inputs !== undefined && Object.hasOwn(inputs, id)) answer = inputs[id];
  answer ??= definition?.default;
  if (answer === undefined) return undefined;
  if (typeof answer !== 'string') {
    throw invalid(at, `asks for the input "${id}", whose answer is ${kindOf(answer)}`, 'answer with a text');
  }
  if (definition?.options !== undefined && !definition.options.includes(answer)) {
    throw invalid(
      at,
      `asks for the input "${id}", whose answer is none of its options`,
      `answer with one of ${definition.options.join(', ')}`,
    );
  }
  return answer;
}

function isOff(value: unknown): boolean {
  return isObject(value) && (value['disabled'] === true || value['enabled'] === false);
}

const MAX_DEPTH = 64;

function* usedIn(value: unknown, at: At, depth = 0): Generator<{ id: string; at: At }> {
  if (typeof value === 'string') {
    for (const id of inputIds(value)) yield { id, at };
  } else if (Array.isArray(value) && depth < MAX_DEPTH) {
    for (const [i, item] of value.entries()) yield* usedIn(item, below(at, i), depth + 1);
  } else if (isObject(value) && depth < MAX_DEPTH) {
    for (const key of Object.keys(value)) yield* usedIn(value[key], below(at, key), depth + 1);
  }
}

function readDefinitions(shape: Shape, origin: Origin): ReadonlyMap<string, InputDefinition> {
  const definitions = new Map<string, InputDefinition>();
  if (shape.inputs === undefined) return definitions;
  const { value, path } = shape.inputs;
  const at: At = { origin, server: undefined, base: path.slice(0, -1), path: path.slice(-1) };
  if (!Array.isArray(value)) throw invalid(at, `is ${kindOf(value)}`, 'give a list of inputs');
  for (const [i, item] of value.entries()) {
    const definition = readDefinition(new Fields(item, below(at, i), 'give { type, id, description }'));
    if (definitions.has(definition.id)) throw invalid(below(at, i, 'id'), 'is given twice', 'keep one');
    definitions.set(definition.id, definition);
  }
  return definitions;
}

function readDefinition(fields: Fields): InputDefinition {
  const id = fields.text('id');
  if (id === undefined) throw invalid(fields.place('id'), 'is missing', 'name the input');
  const fallback = fields.get('default');
  return {
    id,
    type: fields.text('type') ?? 'promptString',
    description:
      typeof fields.get('description') === 'string' ? (fields.get('description') as string) : undefined,
    default: typeof fallback === 'string' ? fallback : undefined,
    password: fields.get('password') === true,
    options: readOptions(fields),
  };
}

/** VS Code allows `"a"` and `{ label, value }`. */
function readOptions(fields: Fields): readonly string[] | undefined {
  const options = fields.get('options');
  if (options === undefined) return undefined;
  if (!Array.isArray(options))
    throw invalid(fields.place('options'), `is ${kindOf(options)}`, 'give a list of texts');
  return options.map((option: unknown, i) => {
    const value = isObject(option) ? option['value'] : option;
    if (typeof value === 'string') return value;
    throw invalid(below(fields.place('options'), i), `is ${kindOf(option)}`, 'give a text');
  });
}

import { errorText } from '../core/errors.ts';
import { fitsModels, hashedName, MAX_NAME, quoted, SEPARATOR, withHash } from './name-text.ts';

/**
 * How tools and prompts are called from outside. `prefixed`: `server__name`. `transparent`: the original name while
 * only one server has it. A function is asked once for each holder, and its answer is kept.
 */
export type Naming = 'prefixed' | 'transparent' | ((server: string, name: string) => string);

/** What a holder would like to be called, before it is known what others are called. */
export interface NameWish {
  readonly name: string;
  /** Why the naming function was not followed to the letter. */
  readonly problem?: string | undefined;
}

/**
 * The name by which `original` of `server` is exposed as long as nobody else holds it: at most 64 characters of
 * `[A-Za-z0-9_-]`, what does not fit is cut and gets a hash that is the same in every run. Never throws.
 */
export function exposedName(server: string, original: string, naming: Naming = 'prefixed'): string {
  if (naming === 'transparent' && fitsModels(original)) return original;
  return wishedName(server, original, naming).name;
}

/** With `transparent`, the name used when the bare one cannot be: that of `prefixed`. */
export function wishedName(server: string, original: string, naming: Naming): NameWish {
  if (typeof naming === 'function') return customName(server, original, naming);
  // A name that is too long is not even put together: a hostile one may be megabytes long.
  const fits = server.length + SEPARATOR.length + original.length <= MAX_NAME;
  const plain = fits ? server + SEPARATOR + original : '';
  return { name: fits && fitsModels(plain) ? plain : hashedName(server, original) };
}

function customName(
  server: string,
  original: string,
  naming: (server: string, name: string) => string,
): NameWish {
  const refused = (problem: string): NameWish => ({ name: hashedName(server, original), problem });
  let given: unknown;
  try {
    given = naming(server, original);
  } catch (error) {
    return refused(`the naming function threw: ${errorText(error)}`);
  }
  if (typeof given !== 'string') return refused(`the naming function returned ${typeof given}, not a string`);
  if (given === '') return refused('the naming function returned an empty name');
  if (given.length > MAX_NAME) {
    return refused(
      `the naming function returned ${given.length} characters, at most ${MAX_NAME} are allowed`,
    );
  }
  if (fitsModels(given)) return { name: given };
  return {
    name: withHash(given, server, original),
    problem: `the naming function returned ${quoted(given)}; only letters, digits, "_" and "-" are allowed`,
  };
}

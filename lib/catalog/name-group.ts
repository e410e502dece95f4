import type { NameHolder } from './name-registry.ts';

/**
 * Those who have one original name, in order of coming. Immutable, and yet nothing is copied where one joins the newest
 * version: versions share one list, of which each sees so many. A thousand servers that list the same hundred names would
 * copy four hundred megabytes otherwise.
 */
export class NameGroup implements Iterable<NameHolder> {
  readonly size: number;
  readonly #all: NameHolder[];

  private constructor(all: NameHolder[], size: number) {
    this.#all = all;
    this.size = size;
  }

  static of(holders: readonly NameHolder[]): NameGroup {
    return new NameGroup([...holders], holders.length);
  }

  get first(): NameHolder | undefined {
    return this.size === 0 ? undefined : this.#all[0];
  }

  with(holder: NameHolder): NameGroup {
    const all = this.#all.length === this.size ? this.#all : this.#all.slice(0, this.size);
    all.push(holder);
    return new NameGroup(all, this.size + 1);
  }

  without(holder: NameHolder): NameGroup {
    return NameGroup.of(this.filter((other) => other !== holder));
  }

  filter(admits: (holder: NameHolder) => boolean): NameHolder[] {
    const found: NameHolder[] = [];
    for (const holder of this) if (admits(holder)) found.push(holder);
    return found;
  }

  *[Symbol.iterator](): Generator<NameHolder> {
    for (let i = 0; i < this.size; i += 1) yield this.#all[i] as NameHolder;
  }
}

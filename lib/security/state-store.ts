/**
 * One small document, kept over restarts. `read` gives `undefined` where nothing was ever written and throws where it
 * cannot be read; `write` replaces it whole, or throws and leaves what was there.
 */
export interface StateStore {
  read(): string | undefined;
  write(text: string): void;
}

/** Keeps nothing over a restart: every start is a first sight. */
export function memoryStore(text?: string): StateStore {
  let kept = text;
  return {
    read: () => kept,
    write(next) {
      kept = next;
    },
  };
}

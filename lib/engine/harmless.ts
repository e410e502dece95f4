import { Observable, type Observer, type Subscription } from 'rxjs';

type Next<T> = (value: T) => void;

/**
 * The same stream for subscribers that may throw. What a subscriber throws RxJS rethrows as an uncaught exception of the
 * whole process; of us a host gets facts, and its defect in reading one of them must not end it. Told once per subscriber.
 */
export function harmless<T>(source: Observable<T>, onFault: (error: unknown) => void): Observable<T> {
  return new Harmless(source, onFault);
}

class Harmless<T> extends Observable<T> {
  readonly #source: Observable<T>;
  readonly #onFault: (error: unknown) => void;

  constructor(source: Observable<T>, onFault: (error: unknown) => void) {
    super();
    this.#source = source;
    this.#onFault = onFault;
  }

  override subscribe(
    observer?: Partial<Observer<T>> | Next<T> | null,
    onError?: ((error: unknown) => void) | null,
    onComplete?: (() => void) | null,
  ): Subscription {
    // An operator subscribes with a subscriber of its own, which knows what to do with what is thrown below it.
    if (
      typeof observer === 'object' &&
      observer !== null &&
      'closed' in observer &&
      'unsubscribe' in observer
    ) {
      return this.#source.subscribe(observer);
    }
    const given: Partial<Observer<T>> =
      typeof observer === 'object' && observer !== null
        ? observer
        : {
            ...(observer && { next: observer }),
            ...(onError && { error: onError }),
            ...(onComplete && { complete: onComplete }),
          };
    let told = false;
    const guarded = (act: () => unknown): void => {
      try {
        act();
      } catch (error) {
        if (told) return;
        told = true;
        this.#onFault(error);
      }
    };
    return this.#source.subscribe({
      next: (value) => guarded(() => given.next?.(value)),
      error: (error: unknown) => guarded(() => given.error?.(error)),
      complete: () => guarded(() => given.complete?.()),
    });
  }
}

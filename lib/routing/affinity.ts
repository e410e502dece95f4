import type { Availability } from '../core/availability.ts';
import { TroupeError } from '../core/errors.ts';
import type { Response } from '../core/interceptor.ts';
import type { Request } from '../core/request.ts';
import { hash32 } from './hash.ts';
import { jsonPointer, type JsonPointer } from './json-pointer.ts';
import { RecentMap } from './recent-map.ts';

export interface AffinityOptions {
  /**
   * What requests with the same replica have in common. `tool`: the tool or prompt; `resource`: the URI; `tenant`: the
   * principal's tenant; `session`: the caller's `affinity`, else the principal, else everybody together; `key`: an
   * argument; `handle`: an argument whose values the server hands out in its results.
   */
  readonly by:
    | 'tool'
    | 'resource'
    | 'session'
    | 'tenant'
    | 'handle'
    | 'key'
    | ((request: Request) => string | undefined);
  /** JSON pointer into the arguments; required for `handle` and `key`. */
  readonly argument?: string | undefined;
  /** `handle`: JSON pointer into the result where new handles are found. Default: `argument` below `/structuredContent`. */
  readonly result?: string | undefined;
  /**
   * `prefer`: where it can be, and else anywhere (caches). `strict`: there or nowhere (state in memory).
   * Default: `strict` for `session` and `handle`, else `prefer`.
   */
  readonly mode?: 'prefer' | 'strict' | undefined;
  /** `strict`, when the replica is gone. `fail` (default): `affinity_lost`; `rehash`: move on; `reinit`: move on after `onReinit`. */
  readonly onLoss?: 'fail' | 'rehash' | 'reinit' | undefined;
  /** Keys and handles remembered; the one used longest ago is forgotten first. Default 10 000. */
  readonly maxKeys?: number | undefined;
}

/** A replica as affinity sees it. */
export interface AffineReplica {
  readonly id: string;
  readonly availability: Availability;
  /**
   * Changes when what the server remembered of us is gone: a new session of a server that keeps state. Absent: its
   * state survives a reconnect, or there is none.
   */
  readonly epoch?: number | undefined;
}

/** Where a request belongs. */
export interface Placement {
  readonly text: string;
  /** Hash of the key. */
  readonly key: number;
  /** The one replica that the key belongs to, as an index; undefined: any, and `key` says which is preferred. */
  readonly only: number | undefined;
  /** No other will do: what it cannot take fails. */
  readonly fixed: boolean;
  /** The key stays with whatever is picked now: `pin` it. */
  readonly pin: boolean;
  /** The replica the key has lost, where `onLoss: 'reinit'` has something to set up at the next. */
  readonly from: string | undefined;
}

export interface AffinityMove {
  readonly from: string;
  readonly to: string;
}

interface Pin {
  id: string;
  epoch: number | undefined;
  /** Set once lost: requests begun before are told so, later ones start afresh (a handle never does). */
  lostAt?: number;
}

const DEFAULT_MAX_KEYS = 10_000;

/**
 * Keeps together what belongs together. Strict keys are pinned with their first request, so that a replica that joins
 * takes no key away; handles are learnt from results. A lost pin is reported to every request that was under way.
 */
export class Affinity {
  readonly #server: string | undefined;
  readonly #by: AffinityOptions['by'] | undefined;
  readonly #argument: JsonPointer | undefined;
  readonly #result: JsonPointer | undefined;
  readonly #strict: boolean;
  readonly #onLoss: 'fail' | 'rehash' | 'reinit';
  readonly #pins: RecentMap<Pin>;

  /**
   * Without options only the caller's own `affinity` counts: its replica is kept while it lives, then another takes over.
   * Throws `config_invalid`.
   */
  constructor(server?: string, options?: AffinityOptions) {
    this.#server = server;
    const by = options?.by;
    this.#by = by;
    const { argument, result, maxKeys = DEFAULT_MAX_KEYS } = options ?? {};
    if ((by === 'handle' || by === 'key') && argument === undefined) {
      throw invalid(
        server,
        'affinity.argument',
        `a JSON pointer into the arguments is required for by: "${by}"`,
      );
    }
    if (!(Number.isInteger(maxKeys) && maxKeys >= 1)) {
      throw invalid(server, 'affinity.maxKeys', 'expected a whole number from 1');
    }
    this.#argument = argument === undefined ? undefined : jsonPointer(argument, 'affinity.argument');
    this.#result =
      by === 'handle'
        ? jsonPointer(result ?? `/structuredContent${argument ?? ''}`, 'affinity.result')
        : undefined;
    const mode = options?.mode ?? (by === 'session' || by === 'handle' ? 'strict' : 'prefer');
    this.#strict = mode === 'strict';
    this.#onLoss = options?.onLoss ?? 'fail';
    this.#pins = new RecentMap(maxKeys);
  }

  /** Keys remembered now. */
  get size(): number {
    return this.#pins.size;
  }

  /** The routing key: a configured handle first, then the caller's own, then what is configured. */
  keyOf(request: Request): string | undefined {
    const by = this.#by;
    if (by === 'handle') return this.#argumentOf(request) ?? request.affinity;
    if (request.affinity !== undefined) return request.affinity;
    if (by === undefined) return undefined;
    if (typeof by === 'function') return by(request);
    return this.#configuredKey(by, request);
  }

  /** Whether only the replica that its key belongs to will do. */
  isFixed(request: Request): boolean {
    const key = this.keyOf(request);
    return (
      key !== undefined && this.#pins.get(key) !== undefined && (this.#strict || this.#isHandle(key, request))
    );
  }

  #configuredKey(
    by: 'tool' | 'resource' | 'session' | 'tenant' | 'key',
    request: Request,
  ): string | undefined {
    if (by === 'tool') return textOf(request.params?.['name']);
    if (by === 'resource') return textOf(request.params?.['uri']);
    if (by === 'tenant') return request.principal?.tenant ?? request.principal?.id;
    if (by === 'session') return request.principal?.id ?? '';
    return this.#argumentOf(request);
  }

  /** Undefined: the request may go anywhere. Throws `affinity_lost`. */
  place(request: Request, replicas: readonly AffineReplica[], now: number): Placement | undefined {
    const key = this.keyOf(request);
    if (key === undefined) return undefined;
    const hash = hash32(key);
    const pin = this.#pins.get(key);
    if (pin !== undefined) return this.#atPin(key, hash, pin, request, replicas, now);
    // A handle nobody has seen minted is not pinned; the caller's own key is, even where nothing is configured.
    return placed(
      key,
      hash,
      !this.#isHandle(key, request) && (this.#strict || request.affinity !== undefined),
    );
  }

  /** The key of a placement with `pin` stays with this replica from now on. */
  pin({ text }: Placement, { id, epoch }: AffineReplica): void {
    this.#pins.set(text, { id, epoch });
  }

  /** The move could not be made: the key is lost as before, and the next request with it moves again. */
  unpin({ text, from }: Placement): void {
    // No epoch is NaN.
    if (from !== undefined) this.#pins.set(text, { id: from, epoch: NaN });
  }

  /** Notes the handle in a result, if there is one: requests that bring it come back to this replica. */
  learn(response: Response, replica: AffineReplica): void {
    if (this.#result === undefined) return;
    const handle = textOf(this.#result(response));
    if (handle !== undefined) this.#pins.set(handle, { id: replica.id, epoch: replica.epoch });
  }

  #atPin(
    key: string,
    hash: number,
    pin: Pin,
    request: Request,
    replicas: readonly AffineReplica[],
    now: number,
  ): Placement {
    const isHandle = this.#isHandle(key, request);
    if (pin.lostAt !== undefined) {
      if (isHandle || request.startedAt <= pin.lostAt) throw this.#lost(pin);
      return placed(key, hash, true);
    }
    const only = replicas.findIndex(({ id }) => id === pin.id);
    const replica = replicas[only];
    const fixed = this.#strict || isHandle;
    // What is only a preference does not wait for a replica that cannot be asked, and asks none twice.
    const away = !fixed && (replica?.availability === 'impossible' || request.tried.includes(pin.id));
    if (replica !== undefined && !away && !isLost(pin, replica))
      return { text: key, key: hash, only, fixed, pin: false, from: undefined };
    const onLoss = this.#strict ? this.#onLoss : 'rehash';
    if (onLoss === 'fail') {
      pin.lostAt = now;
      throw this.#lost(pin);
    }
    return placed(key, hash, true, onLoss === 'reinit' ? pin.id : undefined);
  }

  /** A handle that a server has minted, and not the caller's own key. */
  #isHandle(key: string, { affinity }: Request): boolean {
    return this.#by === 'handle' && key !== affinity;
  }

  #argumentOf(request: Request): string | undefined {
    return textOf(this.#argument?.(request.params?.['arguments']));
  }

  #lost(pin: Pin): TroupeError {
    return new TroupeError(
      'affinity_lost',
      `the replica that kept the state of this key is gone; begin anew, or set affinity.onLoss to "rehash" or "reinit"`,
      {
        server: this.#server,
        connection: pin.id,
        data: { by: typeof this.#by === 'function' ? 'function' : (this.#by ?? 'affinity') },
      },
    );
  }
}

function placed(text: string, key: number, pin: boolean, from?: string): Placement {
  return { text, key, only: undefined, fixed: false, pin, from };
}

/** One that is down may come back with its state only if it has no epoch, which a session would change. */
function isLost(pin: Pin, { availability, epoch }: AffineReplica): boolean {
  return epoch !== pin.epoch || (epoch !== undefined && availability === 'impossible');
}

function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined;
}

function invalid(server: string | undefined, field: string, remedy: string): TroupeError {
  return new TroupeError('config_invalid', `${field}: ${remedy}`, { server, data: { field } });
}

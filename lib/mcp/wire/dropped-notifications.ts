import { TroupeError } from '../../core/errors.ts';
import type { TokenBucket } from './token-bucket.ts';

/** `data.reason` of the oddity that tells of dropped notifications: among them may be news of a changed list. */
export const NOTIFICATIONS_DROPPED = 'notifications_dropped';
/** While more are dropped, that is told at least this often, milliseconds. */
export const DROPS_TOLD_MS = 1_000;

/** Counts what came too fast, and says when it is to be told: the 1st, 2nd, 4th, 8th …, and once in a while. */
export class DroppedNotifications {
  readonly #bucket: TokenBucket;
  readonly #now: () => number;
  readonly #server: string | undefined;
  #count = 0;
  #toldAt = -Infinity;

  constructor(bucket: TokenBucket, now: () => number, server: string | undefined) {
    this.#bucket = bucket;
    this.#now = now;
    this.#server = server;
  }

  /** What is to be told of it now, if anything. */
  another(): TroupeError | undefined {
    this.#count += 1;
    const count = this.#count;
    const now = this.#now();
    if ((count & (count - 1)) !== 0 && now - this.#toldAt < DROPS_TOLD_MS) return undefined;
    this.#toldAt = now;
    const { rate, burst } = this.#bucket;
    return new TroupeError(
      'limit_exceeded',
      `the server sent more than ${rate} notifications per second (burst ${burst}): ${count} dropped so far (limits \`notificationsPerSecond\`, \`notificationBurst\`)`,
      { server: this.#server, delivery: 'answered', data: { reason: NOTIFICATIONS_DROPPED } },
    );
  }
}

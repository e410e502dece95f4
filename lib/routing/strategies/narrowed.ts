import type { Random } from '../../core/ports.ts';
import type { OperationClass } from '../../core/request.ts';
import type { PickCtx, ReplicaView } from '../strategy.ts';

/** What a wrapper gives to the strategy inside it: the same pick with fewer candidates. One per wrapper, used again for every pick. */
export class Narrowed implements PickCtx {
  now = 0;
  rng!: Random;
  view!: ReplicaView;
  readonly candidates: number[] = [];
  key: number | undefined;
  attempt = 1;
  tried: readonly number[] = [];
  op: OperationClass = 'unsafe';

  /** Takes everything over but the candidates, of which there are none yet. */
  of(ctx: PickCtx): this {
    this.now = ctx.now;
    this.rng = ctx.rng;
    this.view = ctx.view;
    this.candidates.length = 0;
    this.key = ctx.key;
    this.attempt = ctx.attempt;
    this.tried = ctx.tried;
    this.op = ctx.op;
    return this;
  }
}

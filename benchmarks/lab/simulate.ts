import { Cancellation } from '../../lib/core/cancellation.ts';
import { TroupeError } from '../../lib/core/errors.ts';
import { type Handler, type Response, compose } from '../../lib/core/interceptor.ts';
import type { Outcome } from '../../lib/core/outcome.ts';
import type { Random } from '../../lib/core/ports.ts';
import type { Request } from '../../lib/core/request.ts';
import { type CircuitBreaker, createCircuitBreaker } from '../../lib/resilience/circuit-breaker.ts';
import { backoffCeiling } from '../../lib/resilience/retry.ts';
import { isRetryable } from '../../lib/resilience/retryable.ts';
import { hash32 } from '../../lib/routing/hash.ts';
import type { Lease } from '../../lib/routing/load-meter.ts';
import { createOutlierDetector } from '../../lib/routing/outlier.ts';
import { type Picker, type PickerReplica, createPicker } from '../../lib/routing/picker.ts';
import { createPool } from '../../lib/routing/pool.ts';
import { withTiers } from '../../lib/routing/strategies/with-tiers.ts';
import type { RoutingStrategy } from '../../lib/routing/strategy.ts';
import { alike, failureOf } from './failures.ts';
import { type Happening, Kernel } from './kernel.ts';
import { LoadHistory, createReporter } from './load-reports.ts';
import { ENDED, Record, type Result } from './metrics.ts';
import { resultOf } from './result.ts';
import type { Budget, Scenario } from './scenario.ts';
import { type Attempt, ServerModel } from './server-model.ts';
import { underTest } from './strategy-under-test.ts';

/** Runs a scenario in virtual time. Pure: the same scenario and seed give the same result, event for event. */
export function simulate(scenario: Scenario, seed: number): Result {
  if (scenario.breaker !== undefined || scenario.layers !== undefined) {
    throw new TypeError('breakers and layers go on in promises; use simulateInTurns');
  }
  const world = new World(scenario, seed);
  world.kernel.run();
  return world.result();
}

/** As `simulate`, for what goes on in promises. Also pure. */
export async function simulateInTurns(scenario: Scenario, seed: number): Promise<Result> {
  const world = new World(scenario, seed);
  await world.kernel.runInTurns();
  world.dispose();
  return world.result();
}

/** The servers and the log of a run, for what calls them in its own way. */
export interface Stage {
  readonly kernel: Kernel;
  readonly servers: readonly ServerModel[];
  /** An attempt that is counted and logged. `ended` says whether anybody waited for it. */
  attempt(
    server: ServerModel,
    work: { readonly size: number; readonly key: number },
    ended: (outcome: Outcome) => boolean,
  ): Attempt;
}

/** As `simulateInTurns`, with one handler of the caller's making in place of the clients. */
export async function simulateThrough(
  scenario: Scenario,
  seed: number,
  open: (stage: Stage) => Promise<{ readonly handler: Handler; stop(): Promise<void> }>,
): Promise<Result> {
  const world = new World(scenario, seed);
  const { kernel } = world;
  const opened = await open(world);
  world.handler = opened.handler;
  try {
    // It may have timers of its own that never end.
    await kernel.runInTurnsUntil(() => world.finished);
    return world.result();
  } finally {
    await opened.stop();
    world.dispose();
  }
}

/** What the log says happened. */
const LOG = { arrival: 1, pick: 2, settled: 3, ended: 4 } as const;
const NEVER_CANCELLED = new Cancellation();
const ANSWER: Response = { content: [] };

/** Of a key: what the engine takes it for, so that both send it the same way. */
const hashOf = (key: number): number => hash32(String(key));

/** The key of a request through layers, as `AffinityOptions.by`. */
function affinityOf({ params }: Request): string | undefined {
  const key = params!['key'] as number;
  return key < 0 ? undefined : String(key);
}

interface Client {
  readonly picker: Picker;
  readonly breakers: readonly CircuitBreaker[];
  readonly waiting: Call[];
  readonly budget: Budget | undefined;
  readonly hedgeBudget: Budget | undefined;
  readonly handler: Handler | undefined;
}

class World implements Stage {
  readonly kernel: Kernel;
  readonly scenario: Scenario;
  readonly record = new Record();
  readonly servers: ServerModel[];
  readonly history: LoadHistory[];
  readonly sent: Float64Array;
  /** Somebody asks for load reports, so the servers keep what they need for them. */
  reports = false;
  wastedMs = 0;
  /** Instead of those of the clients. */
  handler: Handler | undefined;
  /** A strategy failed. The picker would go on with another, so the run must not count. */
  #fault: TroupeError | undefined;
  #noneWillCome = false;
  readonly #clients: Client[];
  readonly #warmAfter: number;
  readonly #sizes: Random;
  readonly #clientOf: Random;
  readonly #keys: Random;
  readonly #backoff: Random;
  readonly #breakers: Random;

  constructor(scenario: Scenario, seed: number) {
    const kernel = new Kernel(seed);
    this.kernel = kernel;
    this.scenario = scenario;
    this.servers = scenario.servers.map((spec, i) => new ServerModel(kernel, spec, i));
    this.history = scenario.servers.map(() => new LoadHistory());
    this.sent = new Float64Array(this.servers.length);
    const { requests = Infinity, untilMs = Infinity, trace, warmUp = 0.1 } = scenario;
    this.#warmAfter = Math.floor((trace?.length ?? requests) * warmUp);
    // Of a run that ends by time nobody knows how many there will be.
    if (this.#warmAfter === Infinity && untilMs < Infinity) {
      kernel.at(untilMs * warmUp, { happen: () => this.#forgetHits() });
    }
    this.#sizes = kernel.stream('sizes');
    this.#clientOf = kernel.stream('clients');
    this.#keys = kernel.stream('keys');
    this.#backoff = kernel.stream('backoff');
    this.#breakers = kernel.stream('breakers');
    const routing = kernel.stream('routing');
    this.#clients = Array.from({ length: scenario.clients ?? 1 }, (_, i) => this.#client(i, routing));
    this.#arrivals(kernel.stream('arrivals'));
  }

  #client(number: number, routing: Random): Client {
    const { kernel, scenario } = this;
    const ids = this.servers.map((_, i) => `pool#${i}`);
    const byId = new Map(ids.map((id, i) => [id, this.servers[i]!]));
    const reporter = createReporter(kernel, byId, this.history, scenario.probeMs ?? 1);
    const strategy = this.#underTest(
      scenario.strategy({
        probe: (id, report) => {
          this.reports = true;
          reporter.probe(id, report);
        },
      }),
    );
    const { breaker } = scenario;
    const breakers =
      breaker === undefined
        ? []
        : this.servers.map((server) =>
            createCircuitBreaker({
              clock: kernel,
              random: this.#breakers,
              options: breaker,
              probe: () => (server.isUp ? Promise.resolve() : Promise.reject(new Error('down'))),
            }),
          );
    const replicas: PickerReplica[] = this.servers.map(({ spec }, i) => {
      const gate = breakers[i];
      return {
        id: ids[i]!,
        weight: spec.weight,
        tier: spec.tier,
        slots: spec.maxInFlight,
        get availability() {
          return gate === undefined || gate.admits ? 'usable' : 'suspect';
        },
      };
    });
    const handler =
      scenario.layers === undefined
        ? undefined
        : this.#handler(scenario.layers(kernel), replicas, routing, strategy);
    return {
      picker: createPicker({
        strategy,
        replicas,
        // One stream for all clients: they take turns, so none is like another.
        random: routing,
        clock: kernel,
        server: `client ${number}`,
        outlier: scenario.outlier === undefined ? undefined : createOutlierDetector(ids, scenario.outlier),
        onFault: (error) => this.#failed(error),
      }),
      breakers,
      waiting: [],
      budget: scenario.retry?.budget?.(kernel),
      hedgeBudget: scenario.hedge?.budget?.(kernel),
      handler,
    };
  }

  /** Within one tier at a time where there are several, as a pool of the engine. */
  #underTest(strategy: RoutingStrategy): RoutingStrategy {
    const tested = underTest(strategy);
    const { servers } = this.scenario;
    return servers.some(({ tier = 0 }) => tier !== (servers[0]!.tier ?? 0)) ? withTiers(tested) : tested;
  }

  #failed(error: TroupeError): void {
    this.#fault ??= error;
  }

  #forgetHits(): void {
    for (const server of this.servers) server.forgetHits();
  }

  /** The shipped pool with the model servers behind it, and the layers around it. */
  #handler(
    layers: Parameters<typeof compose>[0],
    replicas: readonly PickerReplica[],
    random: Random,
    strategy: ReturnType<Scenario['strategy']>,
  ): Handler {
    const { kernel } = this;
    const pool = createPool({
      server: 'pool',
      candidates: replicas.map((replica, i) => ({
        id: replica.id,
        weight: replica.weight,
        tier: replica.tier,
        slots: replica.slots,
        get availability() {
          return replica.availability;
        },
        handle: (request: Request) => this.#handOver(request, this.servers[i]!),
      })),
      strategy,
      clock: kernel,
      random,
      maxQueue: Infinity,
      // Not the caller's `affinity`: that stays with the replica it had first, whatever the strategy would say.
      affinity: { by: affinityOf },
      onFault: (error) => this.#failed(error),
    });
    return compose(layers, (request) => pool.handle(request));
  }

  #handOver(request: Request, server: ServerModel): Promise<Response> {
    const { kernel } = this;
    this.record.attempts++;
    this.sent[server.index] = this.sent[server.index]! + 1;
    kernel.log(LOG.pick, server.index);
    const size = request.params!['size'] as number;
    return new Promise((resolve, reject) => {
      let over = false;
      const attempt: Attempt = {
        size,
        key: request.params!['key'] as number,
        expiresAt: request.deadline,
        end: (outcome, sent, retryAfterMs, workMs = 0) => {
          kernel.log(LOG.settled, server.index);
          kernel.promised();
          if (over || outcome !== 'ok') this.wastedMs += workMs;
          if (over) return;
          if (outcome === 'ok') resolve(ANSWER);
          else reject(failureOf(outcome, sent, retryAfterMs));
        },
      };
      request.cancellation.listen((reason) => {
        over = true;
        kernel.promised();
        server.cancel(attempt);
        reject(reason.with({ delivery: 'sent' }));
      });
      server.take(attempt);
    });
  }

  #arrivals(random: Random): void {
    const { kernel, scenario } = this;
    const { gaps, closed, trace, requests = Infinity, untilMs = Infinity } = scenario;
    if (trace !== undefined) {
      let next = 0;
      const plan = (): void => {
        if (next === trace.length) return this.#noMore();
        kernel.at(trace[next]!.at, {
          happen: () => {
            const { size, key } = trace[next++]!;
            this.#arrive(size, key);
            plan();
          },
        });
      };
      return plan();
    }
    if (requests === Infinity && untilMs === Infinity)
      throw new TypeError('a scenario needs requests or untilMs');
    const size = scenario.size ?? (() => 1);
    if (closed !== undefined) {
      const think = (): number => -closed.thinkMs * Math.log(1 - random());
      const ask = (): void => {
        if (this.record.arrivals >= requests || kernel.now() >= untilMs) return this.#noMore();
        this.#arrive(size(this.#sizes), undefined, () => kernel.at(kernel.now() + think(), { happen: ask }));
      };
      for (let i = 0; i < closed.users; i++) kernel.at(think(), { happen: ask });
      return;
    }
    if (gaps === undefined) throw new TypeError('a scenario needs gaps, closed or trace');
    const gap = gaps(random);
    const arrival: Happening = {
      happen: () => {
        this.#arrive(size(this.#sizes), undefined);
        const at = kernel.now() + gap();
        if (this.record.arrivals < requests && at < untilMs) kernel.at(at, arrival);
        else this.#noMore();
      },
    };
    kernel.at(gap(), arrival);
  }

  get finished(): boolean {
    return this.#noneWillCome && this.record.inSystem === 0;
  }

  attempt(
    server: ServerModel,
    { size, key }: { readonly size: number; readonly key: number },
    ended: (outcome: Outcome) => boolean,
  ): Attempt {
    const { kernel } = this;
    this.record.attempts++;
    this.sent[server.index] = this.sent[server.index]! + 1;
    kernel.log(LOG.pick, server.index);
    return {
      size,
      key,
      expiresAt: kernel.now() + (this.scenario.deadlineMs ?? Infinity),
      end: (outcome, _sent, _retryAfterMs, workMs = 0) => {
        kernel.log(LOG.settled, server.index);
        const waitedFor = ended(outcome);
        if (!waitedFor || outcome !== 'ok') this.wastedMs += workMs;
      },
    };
  }

  #noMore(): void {
    this.#noneWillCome = true;
    for (const server of this.servers) server.stopped = true;
  }

  #arrive(size: number, givenKey: number | undefined, then?: () => void): void {
    if (this.#fault !== undefined) throw this.#fault;
    const { kernel, scenario } = this;
    const now = kernel.now();
    const many = this.#clients.length;
    const client = this.#clients[many === 1 ? 0 : Math.floor(this.#clientOf() * many)]!;
    const key = givenKey ?? scenario.keys?.(this.#keys) ?? -1;
    const id = this.record.arrive(now);
    if (id === this.#warmAfter) this.#forgetHits();
    kernel.log(LOG.arrival, id);
    const handler = this.handler ?? client.handler;
    if (handler !== undefined) return this.#ask(handler, id, size, key, then);
    const call = new Call(this, client, id, size, key, then);
    client.budget?.deposit();
    client.hedgeBudget?.deposit();
    call.attemptOnce();
    if (scenario.hedge !== undefined && !call.done) kernel.at(now + scenario.hedge.delayMs, call);
  }

  #ask(handler: Handler, id: number, size: number, key: number, then: (() => void) | undefined): void {
    const { kernel, scenario } = this;
    const now = kernel.now();
    const request: Request = Object.freeze({
      seq: id,
      method: 'tools/call',
      params: { size, key },
      server: 'pool',
      target: 'pool__work',
      operation: scenario.retry?.operation === 'unsafe' ? 'unsafe' : 'read-only',
      deadline: now + (scenario.deadlineMs ?? Infinity),
      startedAt: now,
      cancellation: new Cancellation(),
      onProgress: undefined,
      principal: undefined,
      affinity: undefined,
      cache: 'use',
      batch: false,
      meta: undefined,
      attempt: 1,
      tried: [],
      facts: { attempts: 0, rounds: 0 },
    });
    kernel.promised();
    const ended = (ok: boolean, rejected: boolean): void => {
      this.ended(id, ok, rejected);
      then?.();
    };
    handler(request).then(
      () => ended(true, false),
      (error: unknown) => ended(false, error instanceof TroupeError && error.code === 'queue_full'),
    );
  }

  ended(id: number, ok: boolean, rejected: boolean): void {
    const { kernel, record, scenario } = this;
    const late = kernel.now() - record.arrivedAt[id]! > (scenario.deadlineMs ?? Infinity);
    const status = ok ? (late ? ENDED.late : ENDED.ok) : rejected ? ENDED.rejected : ENDED.failed;
    record.end(id, kernel.now(), status);
    kernel.log(LOG.ended, status);
  }

  backoffMs(k: number): number {
    return this.#backoff() * backoffCeiling(this.scenario.retry!, k);
  }

  dispose(): void {
    for (const { breakers } of this.#clients) for (const breaker of breakers) breaker.dispose();
  }

  result(): Result {
    if (this.#fault !== undefined) throw this.#fault;
    return resultOf(this);
  }
}

/** One request of a client: its attempts, one after the other or, hedged, side by side. Is the query of its picks as well. */
class Call implements Happening {
  readonly world: World;
  readonly client: Client;
  readonly id: number;
  readonly size: number;
  readonly key: number;
  readonly whenDone: (() => void) | undefined;
  readonly hash: number | undefined;
  readonly expiresAt: number;
  readonly operation: 'unsafe' | 'read';
  attempt = 1;
  tried: string[] = [];
  done = false;
  running = 0;
  hedged = false;

  constructor(
    world: World,
    client: Client,
    id: number,
    size: number,
    key: number,
    then: (() => void) | undefined,
  ) {
    const { scenario, kernel } = world;
    this.world = world;
    this.client = client;
    this.id = id;
    this.size = size;
    this.key = key;
    this.whenDone = then;
    this.hash = key < 0 ? undefined : hashOf(key);
    this.expiresAt = kernel.now() + (scenario.deadlineMs ?? Infinity);
    this.operation = scenario.retry?.operation ?? 'read';
  }

  /** The delay of the hedge is over. */
  happen(): void {
    if (this.done || this.hedged) return;
    if (this.client.hedgeBudget?.withdraw() === false) return;
    this.hedged = true;
    this.attemptOnce();
  }

  /** `first`: the one that has waited longest, and stays it. */
  attemptOnce(first = false): void {
    const { world, client } = this;
    const picked = client.picker.pick(this, this.hash);
    if (picked.kind === 'wait') {
      if (first) client.waiting.unshift(this);
      else client.waiting.push(this);
      return;
    }
    if (picked.kind === 'unavailable') return this.#end(false, false);
    const { index, id } = picked;
    this.running++;
    world.record.attempts++;
    world.sent[index] = world.sent[index]! + 1;
    world.kernel.log(LOG.pick, index);
    if (world.scenario.hedge !== undefined || world.scenario.retry !== undefined)
      this.tried = [...this.tried, id];
    const run = new AttemptRun(this, index, client.picker.lease(index), world);
    const { attemptTimeoutMs } = world.scenario;
    if (attemptTimeoutMs !== undefined) world.kernel.at(world.kernel.now() + attemptTimeoutMs, run);
    world.servers[index]!.take(run);
  }

  settled(outcome: Outcome, sent: boolean, retryAfterMs: number | undefined): void {
    this.running--;
    const { client } = this;
    client.budget?.settled?.(outcome === 'ok', this.attempt > 1);
    if (!this.done) {
      if (outcome === 'ok') this.#end(true, false);
      else if (this.running === 0 && !this.#again(outcome, sent, retryAfterMs))
        this.#end(false, outcome === 'overload');
    }
  }

  #again(outcome: Outcome, sent: boolean, retryAfterMs: number | undefined): boolean {
    const { world, client } = this;
    const { retry } = world.scenario;
    if (retry === undefined || this.attempt > retry.retries) return false;
    if (!isRetryable(alike(outcome, sent, retryAfterMs), this.#asRequest()).retry) return false;
    const waitMs = retryAfterMs ?? world.backoffMs(this.attempt - 1);
    if (world.kernel.now() + waitMs >= this.expiresAt) return false;
    if (client.budget?.withdraw() === false) return false;
    this.attempt++;
    world.kernel.at(world.kernel.now() + waitMs, { happen: () => this.attemptOnce() });
    return true;
  }

  #asRequest(): Pick<Request, 'operation' | 'cancellation'> {
    return { operation: this.operation, cancellation: NEVER_CANCELLED };
  }

  #end(ok: boolean, rejected: boolean): void {
    this.done = true;
    this.world.ended(this.id, ok, rejected);
    this.whenDone?.();
  }
}

/** One attempt of a call, and its own timeout. */
class AttemptRun implements Attempt, Happening {
  readonly call: Call;
  readonly index: number;
  readonly lease: Lease;
  readonly startedAt: number;
  readonly inFlight: number;
  readonly generation: number;
  over = false;

  constructor(call: Call, index: number, lease: Lease, world: World) {
    this.call = call;
    this.index = index;
    this.lease = lease;
    this.startedAt = world.kernel.now();
    this.inFlight = world.reports ? world.servers[index]!.inFlight : 0;
    this.generation = call.client.breakers[index]?.generation ?? 0;
  }

  get size(): number {
    return this.call.size;
  }

  get key(): number {
    return this.call.key;
  }

  get expiresAt(): number {
    return this.over ? -Infinity : this.call.expiresAt;
  }

  begin(): void {
    const { world, id } = this.call;
    if (!this.call.done) world.record.wait[id] = world.kernel.now() - world.record.arrivedAt[id]!;
  }

  end(outcome: Outcome, sent: boolean, retryAfterMs?: number, workMs = 0): void {
    const { world } = this.call;
    world.kernel.log(LOG.settled, this.index);
    if (world.reports && outcome === 'ok') {
      world.history[this.index]!.add(this.inFlight, world.kernel.now() - this.startedAt);
    }
    if (outcome !== 'ok' || this.over || this.call.done) world.wastedMs += workMs;
    if (!this.over) this.#settle(outcome, sent, retryAfterMs);
  }

  /** The attempt has timed out. */
  happen(): void {
    if (!this.over) this.#settle('timeout', true, undefined);
  }

  #settle(outcome: Outcome, sent: boolean, retryAfterMs: number | undefined): void {
    this.over = true;
    const { client, world } = this.call;
    client.picker.settle(this.lease, outcome);
    if (client.breakers.length > 0) {
      client.breakers[this.index]!.report(outcome, this.generation);
      world.kernel.promised();
    }
    // A slot is free; as in the engine, who waits has it before whoever asked hears of the answer.
    client.waiting.shift()?.attemptOnce(true);
    this.call.settled(outcome, sent, retryAfterMs);
  }
}

import type { JSONRPCMessage, Transport } from '@modelcontextprotocol/client';
import type { Config } from '../../lib/config/config.ts';
import { silentLogger } from '../../lib/core/ports.ts';
import { createEngine } from '../../lib/engine/engine.ts';
import type { Kernel } from './kernel.ts';
import type { Result } from './metrics.ts';
import type { Scenario } from './scenario.ts';
import type { Attempt, ServerModel } from './server-model.ts';
import { type Stage, simulateThrough } from './simulate.ts';
import { underTest, withMembers } from './strategy-under-test.ts';
import { UsageError } from './usage-error.ts';

type ServerSettings = Readonly<Record<string, unknown>>;

/** Nothing but routing acts, as in `simulate`. */
const ROUTING_ONLY: ServerSettings = {
  retry: false,
  breaker: false,
  outlier: false,
  admission: { maxQueue: 1_000_000 },
  // Not the `affinity` of a call: that stays with the replica it had first, whatever the strategy would say.
  affinity: { by: 'key', argument: '/key' },
};
/** Longer than any run: never. */
const NEVER_MS = 2_000_000_000;

/** As good as no limit. */
const UNLIMITED = 1_000_000;

const NO_REPORTS =
  'servers behind a whole engine report no load, so strategies that ask for it cannot be run there';

const TOOLS = [
  {
    name: 'work',
    inputSchema: { type: 'object', properties: { size: { type: 'number' }, key: { type: 'number' } } },
    annotations: { readOnlyHint: true },
  },
];

/**
 * As `simulate`, with the whole engine between the requests and the model servers: `callTool`, pipeline, pool, sessions and
 * dispatcher are the shipped ones, time is virtual, and the transports are fake. One engine, so `clients`, `layers`, `hedge` and
 * `retry` of the scenario do not apply: what shall act besides routing is said in `settings`, as in the configuration of a
 * server (default: retries, breaker and outlier detection off). A crashed server closes its transport, and the engine connects
 * again in its own time.
 */
export async function simulateEngine(
  scenario: Scenario,
  seed: number,
  settings: ServerSettings = {},
): Promise<Result> {
  let asked = false;
  let fault: string | undefined;
  const result = await simulateThrough(scenario, seed, async (stage) => {
    const { kernel, servers } = stage;
    const strategy = scenario.strategy({
      probe: () => {
        asked = true;
      },
    });
    const engine = createEngine({
      servers: {
        pool: {
          replicas: servers.map((server) => ({
            transport: () => new ModelTransport(stage, server),
            ...(server.spec.weight !== undefined && { weight: server.spec.weight }),
            ...(server.spec.tier !== undefined && { tier: server.spec.tier }),
          })),
          // The engine knows the shipped ones by name and takes others by another; the mutants are others.
          routing: { strategy: withMembers(underTest(strategy), { name: `${strategy.name}-of-the-lab` }) },
          maxInFlight: maxInFlightOf(scenario),
          era: 'legacy',
          timeoutMs: scenario.deadlineMs ?? NEVER_MS,
          trusted: true,
          ...ROUTING_ONLY,
          ...settings,
        },
      },
      clock: kernel,
      random: kernel.stream('routing'),
      // An engine goes on by least outstanding where a strategy fails, which would look like a result.
      logger: {
        ...silentLogger,
        warn: (message: string, fields?: Readonly<Record<string, unknown>>) => {
          if (message === 'routing') fault ??= String(fields?.['error']);
        },
      },
    } as unknown as Config);
    await engine.start();
    return {
      handler: ({ params }) => {
        const { size, key } = params as unknown as Work;
        return engine.callTool('pool__work', key < 0 ? { size } : { size, key });
      },
      stop: () => engine.stop({ graceMs: 0 }),
    };
  });
  if (fault !== undefined) throw new Error(fault);
  if (asked) throw new UsageError(NO_REPORTS);
  return result;
}

/** Replicas of the simulator have a limit each, those of a server of the engine have one for all. */
function maxInFlightOf({ servers }: Scenario): number {
  const { maxInFlight = UNLIMITED } = servers[0]!;
  if (servers.some((spec) => (spec.maxInFlight ?? UNLIMITED) !== maxInFlight)) {
    throw new UsageError(
      'replicas behind a whole engine share one maxInFlight; here they have different ones',
    );
  }
  return maxInFlight;
}

interface Work {
  readonly size: number;
  /** Below 0: none. */
  readonly key: number;
}

interface Incoming {
  readonly id?: string | number;
  readonly method?: string;
  readonly params?: {
    readonly arguments?: { readonly size: number; readonly key?: number };
    readonly requestId?: string | number;
  };
}

/** One session with a model server: it opens at once, lists one tool and answers when the model has done the work. */
class ModelTransport implements Transport {
  readonly #stage: Stage;
  readonly #kernel: Kernel;
  readonly #server: ServerModel;
  readonly #running = new Map<string | number, Attempt>();
  #closed = false;
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: (message: JSONRPCMessage) => void;

  constructor(stage: Stage, server: ServerModel) {
    this.#stage = stage;
    this.#kernel = stage.kernel;
    this.#server = server;
  }

  start(): Promise<void> {
    return this.#server.isUp ? Promise.resolve() : Promise.reject(new Error('connection refused'));
  }

  send(message: JSONRPCMessage): Promise<void> {
    this.#take(message as Incoming);
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.#shut();
    return Promise.resolve();
  }

  #take({ id, method, params }: Incoming): void {
    switch (method) {
      case 'initialize':
        return this.#soon(id, {
          protocolVersion: '2025-11-25',
          capabilities: { tools: {} },
          serverInfo: { name: 'model', version: '1.0.0' },
        });
      case 'tools/list':
        return this.#soon(id, { tools: TOOLS });
      case 'ping':
        return this.#soon(id, {});
      case 'notifications/cancelled': {
        const attempt = this.#running.get(params!.requestId!);
        if (attempt === undefined) return;
        this.#running.delete(params!.requestId!);
        this.#server.cancel(attempt);
        return;
      }
      case 'tools/call':
        return this.#work(id!, params!.arguments!);
      default:
    }
  }

  #work(id: string | number, { size, key = -1 }: { readonly size: number; readonly key?: number }): void {
    const attempt = this.#stage.attempt(this.#server, { size, key }, (outcome) => {
      this.#kernel.promised();
      if (outcome === 'transport') return this.#shut();
      if (!this.#running.delete(id) || this.#closed) return false;
      if (outcome === 'ok') this.#say({ id, result: { content: [] } });
      else this.#say({ id, error: { code: outcome === 'overload' ? -32_000 : -32_603, message: outcome } });
      return true;
    });
    this.#running.set(id, attempt);
    this.#server.take(attempt);
  }

  #soon(id: string | number | undefined, result: Readonly<Record<string, unknown>>): void {
    queueMicrotask(() => this.#say({ id, result }));
  }

  #say(message: Readonly<Record<string, unknown>>): void {
    this.onmessage?.({ jsonrpc: '2.0', ...message } as unknown as JSONRPCMessage);
  }

  #shut(): false {
    if (this.#closed) return false;
    this.#closed = true;
    this.#running.clear();
    this.onclose?.();
    return false;
  }
}

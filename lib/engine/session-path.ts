import type { ResolvedServer } from '../config/config.ts';
import type { Clock } from '../core/clock.ts';
import type { Emit } from '../core/events.ts';
import { TroupeError } from '../core/errors.ts';
import { compose, type Handler, type Interceptor, type Response } from '../core/interceptor.ts';
import type { Json } from '../core/json-rpc.ts';
import { NOT_COMPARED } from '../core/outcome.ts';
import type { Random } from '../core/ports.ts';
import type { Request } from '../core/request.ts';
import type { Stages } from '../core/stages.ts';
import type { Session } from '../mcp/session/session.ts';
import { createBulkhead, slots } from '../resilience/bulkhead.ts';
import { createCircuitBreaker } from '../resilience/circuit-breaker.ts';
import type { ConnectionPool } from '../supervision/pool.ts';
import { admitsTool, refusesTools } from './admitted-tools.ts';
import { unless } from './listing.ts';
import type { Refusal } from './pinned-tools.ts';
import { probeSession, watchHealth } from './probe.ts';
import type { Replica } from './replica.ts';
import type { SessionLists } from './session-lists.ts';

export interface SessionPathOptions {
  readonly server: ResolvedServer;
  readonly replica: Replica;
  readonly session: Session;
  readonly clock: Clock;
  readonly random: Random;
  readonly emit: Emit;
  readonly stages: Stages;
  readonly connections: ConnectionPool;
  /** Why a call is not made of what is pinned; undefined where nothing is. */
  readonly refusal: Refusal | undefined;
  /** Its breaker admits more or less than before. */
  readonly onBreaker: () => void;
}

/**
 * Gives a replica what belongs to one session: what a request passes once that is picked, its breaker, and the watch over
 * its health. `closeSessionPath` takes it away.
 */
export function openSessionPath(options: SessionPathOptions): void {
  const { server, replica } = options;
  const terminal = terminalOf(options);
  const layers = [
    ...(refusesTools(server.tools) ? [onlyExisting(server)] : []),
    ...(options.refusal === undefined ? [] : [onlyCompared(replica, options.refusal)]),
    ...(server.adaptive === undefined ? [] : [adaptiveSlots(options)]),
  ];
  replica.path = layers.length === 0 ? terminal : compose(layers, terminal);
  openBreaker(options);
  watch(options);
}

export function closeSessionPath(replica: Replica): void {
  replica.breaker?.dispose();
  replica.breaker = undefined;
  replica.path = undefined;
  replica.endWatch?.();
  replica.endWatch = undefined;
}

/** Fed by the pool, in the moment in which it books the outcome. */
function openBreaker(options: SessionPathOptions): void {
  const { server, replica, session, clock, random, emit, stages, onBreaker } = options;
  if (server.breaker === undefined) return;
  replica.breaker = createCircuitBreaker({
    clock,
    random,
    options: server.breaker,
    probe: (cancellation) => probeSession(session, cancellation),
    resume: replica.held,
    stages,
    onChange: (from, to) => {
      emit({
        type: 'breaker.changed',
        at: clock.wallTime(),
        server: server.name,
        connection: replica.config.id,
        from,
        to,
      });
      onBreaker();
    },
  });
  replica.held = undefined;
}

/** AIMD: as many requests at the same time as this session takes without failing or slowing down. */
function adaptiveSlots({ server, replica, clock }: SessionPathOptions): Interceptor {
  const { adaptive, maxInFlight, admission, name } = server;
  return slots({
    clock,
    bulkhead: createBulkhead({
      clock,
      name: `replica ${replica.config.id}`,
      server: name,
      max: maxInFlight,
      maxQueue: admission.maxQueue,
      adaptive: { min: adaptive?.min ?? 1 },
    }),
  });
}

/** What the configuration leaves out is not there, by whatever way it is asked for. */
function onlyExisting({ name: server, tools }: ResolvedServer): Interceptor {
  return (next) => (request) => {
    if (request.method === 'tools/call' && !admitsTool(tools, request.params?.['name'])) {
      const tool = JSON.stringify(request.params?.['name']);
      const detail = `the configuration leaves the tool ${tool} out`;
      return Promise.reject(new TroupeError('not_found', detail, { server }));
    }
    if (request.method !== 'tools/list') return next(request);
    return next(request).then((response) => {
      const listed = response['tools'];
      if (!Array.isArray(listed)) return response;
      return { ...response, tools: (listed as Json[]).filter((tool) => admitsTool(tools, tool?.['name'])) };
    });
  };
}

/**
 * What another session has listed says nothing of this one: before its own list was looked at, nothing is called, and a tool
 * that is not the one that was compared is not called at all.
 */
function onlyCompared(replica: Replica, refusal: Refusal): Interceptor {
  return (next) => (request) => {
    const { lists, offered } = replica;
    if (request.method !== 'tools/call' || lists === undefined) return next(request);
    if (!lists.has('tools')) return afterList(next, request, replica, lists, refusal);
    const refused = refusal(request, offered);
    return refused === undefined ? next(request) : Promise.reject(refused);
  };
}

async function afterList(
  next: Handler,
  request: Request,
  replica: Replica,
  lists: SessionLists,
  refusal: Refusal,
): Promise<Response> {
  try {
    await unless(request.cancellation, lists.fresh('tools'));
  } catch (error) {
    request.cancellation.throwIfCancelled();
    // What became of the list is not what became of the call, which has not been sent.
    const { detail, retryAfterMs } = TroupeError.from(error);
    throw new TroupeError('unavailable', `its tools cannot be compared with what was accepted: ${detail}`, {
      server: request.server,
      retryAfterMs,
      data: { reason: NOT_COMPARED },
      cause: error,
    });
  }
  const refused = refusal(request, replica.offered);
  if (refused !== undefined) throw refused;
  return next(request);
}

function terminalOf({ replica, session, connections }: SessionPathOptions): Handler {
  if (!connections.bounded) return (request) => session.request(request);
  const { id } = replica.config;
  return (request) => {
    connections.touch(id);
    // Once it has settled, the connection may be one that can make room.
    return session
      .request(request)
      .finally(() => connections.waiting > 0 && setImmediate(() => connections.poke()));
  };
}

function watch({ server, replica, session, clock, emit }: SessionPathOptions): void {
  const { name, probe } = server;
  if (probe === undefined) return;
  replica.endWatch = watchHealth({
    clock,
    server: name,
    connection: replica.config.id,
    session,
    ...probe,
    onResult: (result) => {
      replica.lastProbe = result;
      emit({
        type: 'connection.probed',
        at: result.at,
        server: name,
        connection: replica.config.id,
        ok: result.ok,
        elapsedMs: result.elapsedMs,
      });
    },
    onDead: (error) => replica.connection.lost(error),
  });
}

import { createHash, randomUUID } from 'node:crypto';
import { fingerprintTool } from '../catalog/fingerprint.ts';
import type { Config, ResolvedServer } from '../config/config.ts';
import type { Clock } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';
import type { Interceptor } from '../core/interceptor.ts';
import type { Json } from '../core/json-rpc.ts';
import { NOT_COMPARED } from '../core/outcome.ts';
import type { Principal, Request } from '../core/request.ts';
import { createPins, type Pins, type Quarantine, type Sighting } from '../security/pinning.ts';
import { readableDefinition } from '../security/readable-definition.ts';
import type { Redactor } from '../security/redaction.ts';
import { memoryStore } from '../security/state-store.ts';
import type { EventBus } from '../telemetry/event-bus.ts';
import { stateFile } from './state-file.ts';

/** What servers' tools were when they were accepted, and what is held because it is something else now. */
export interface PinnedTools {
  /** Below policy: who may not know a tool shall not learn that it is held. Nothing that is held is called or shown. */
  readonly layer: Interceptor;
  review(server: ResolvedServer, tools: readonly Json[]): void;
  /** By the name under which the server is pinned. */
  quarantined(pinned: string, tool: string): Quarantine | undefined;
  /** Why the call that the request is must not be made. */
  held(request: Request): Quarantine | undefined;
  /** The same as the error that it is; `offered`: what the replica that would get it offers, which may be something else. */
  readonly refusal: Refusal;
  /** What tools are, by their names. */
  readonly fingerprints: (tools: readonly Json[]) => Fingerprints;
  approve(pinned: string, tool: string | undefined): void;
  forget(pinned: string): void;
}

/** By the name of the tool. */
export type Fingerprints = ReadonlyMap<string, string>;

export type Refusal = (request: Request, offered: Fingerprints | undefined) => TroupeError | undefined;

export interface PinnedToolsDeps {
  readonly config: Config;
  readonly clock: Clock;
  readonly bus: EventBus;
  readonly redactor: Redactor;
  readonly pinName: (server: string, principal: Principal | undefined) => string;
}

/** `undefined` where nothing is pinned. */
export function createPinnedTools(deps: PinnedToolsDeps): PinnedTools | undefined {
  const { config, clock, bus, redactor, pinName } = deps;
  const { pinning, secure, stateDir } = config;
  if (pinning === false || (pinning === undefined && !secure)) return undefined;
  const pins = createPins({
    ...pinning,
    // Without a directory to write to, what was accepted holds for the life of the engine.
    store: stateDir === undefined ? memoryStore() : stateFile(stateDir, 'pins.json'),
    onQuarantined: ({ server, tool, reason, diff }) =>
      bus.emit({ type: 'tool.quarantined', at: clock.wallTime(), server, tool, reason, diff }),
  });
  const seen = new Map<string, Fingerprints>();
  const held = ({ method, server, principal, params }: Request): Quarantine | undefined =>
    method === 'tools/call' && server !== undefined
      ? pins.quarantined(pinName(server, principal), String(params?.['name']))
      : undefined;
  const refusal: Refusal = (request, offered) => {
    const quarantine = held(request);
    if (quarantine !== undefined) return refused(quarantine, request.server ?? '');
    if (offered === undefined || request.server === undefined) return undefined;
    const name = String(request.params?.['name']);
    const reviewed = seen.get(pinName(request.server, request.principal))?.get(name);
    // What is like nothing is no question of replicas: the pins alone say whether it may be called.
    if (reviewed === offered.get(name) || reviewed?.startsWith(INCOMPARABLE) !== false) return undefined;
    return new TroupeError(
      'unavailable',
      `this replica offers another "${name}" than the one that was compared`,
      { server: request.server, data: { reason: NOT_COMPARED } },
    );
  };
  return {
    layer: (next) => (request) => {
      const { method, server, principal } = request;
      if (server === undefined) return next(request);
      if (method === 'tools/list') {
        const pinned = pinName(server, principal);
        return next(request).then((response) => withoutHeld(response, pinned, pins, seen.get(pinned)));
      }
      const error = refusal(request, undefined);
      return error === undefined ? next(request) : Promise.reject(error);
    },
    refusal,
    fingerprints: (tools) => new Map(tools.map((tool) => [String(tool['name']), fingerprintOf(tool)])),
    review(server, tools) {
      const sightings = new Map(
        tools.map((tool) => [String(tool['name']), sightingOf(tool, redactor)] as const),
      );
      seen.set(server.name, new Map([...sightings].map(([name, { fingerprint }]) => [name, fingerprint])));
      pins.review(server.name, { launch: launchOf(server, redactor), tools: sightings });
    },
    quarantined: (pinned, tool) => pins.quarantined(pinned, tool),
    held,
    approve: (pinned, tool) => pins.approve(pinned, tool),
    forget: (pinned) => void seen.delete(pinned),
  };
}

function refused(
  { server: pinned, tool, reason, detail, diff, fingerprint }: Quarantine,
  server: string,
): TroupeError {
  return new TroupeError('denied', `${detail}; approve("${pinned}", "${tool}") accepts it`, {
    server,
    data: { reason, tool, diff, fingerprint },
  });
}

/** A list asked for directly may be newer than the one that was reviewed: what differs from it is not shown either. */
function withoutHeld(response: Json, server: string, pins: Pins, reviewed: Fingerprints | undefined): Json {
  const { tools } = response;
  if (!Array.isArray(tools)) return response;
  return {
    ...response,
    tools: (tools as Json[]).filter((tool) => {
      const name = String(tool['name']);
      return pins.quarantined(server, name) === undefined && reviewed?.get(name) === fingerprintOf(tool);
    }),
  };
}

function sightingOf(tool: Json, redactor: Redactor): Sighting {
  return { fingerprint: fingerprintOf(tool), text: () => redactor.text(readableDefinition(tool)) };
}

/** A definition too large to compare is like no other, not even like itself. */
function fingerprintOf(tool: Json): string {
  try {
    return fingerprintTool(tool);
  } catch {
    return `${INCOMPARABLE} ${randomUUID()}`;
  }
}

const INCOMPARABLE = 'incomparable';

/** How the server is reached, without what is secret: a token that is replaced is no other server. */
function launchOf({ replicas }: ResolvedServer, redactor: Redactor): Sighting | undefined {
  const places = replicas.flatMap(({ where }): Json[] => {
    if (where.kind === 'stdio') return [{ command: where.command, args: where.args, cwd: where.cwd }];
    if (where.kind === 'http' || where.kind === 'websocket')
      return [{ url: `${where.url.origin}${where.url.pathname}` }];
    return [];
  });
  if (places.length === 0) return undefined;
  const text = redactor.text(readableDefinition(places));
  return { fingerprint: createHash('sha256').update(text).digest('hex'), text: () => text };
}

import {
  CLIENT_CAPABILITIES_META_KEY,
  CLIENT_INFO_META_KEY,
  Client,
  LOG_LEVEL_META_KEY,
  PROTOCOL_VERSION_META_KEY,
  type Implementation,
  type PriorDiscovery,
  type VersionNegotiationOptions,
} from '@modelcontextprotocol/client';
import type { Cancellation } from '../../core/cancellation.ts';
import type { Clock } from '../../core/clock.ts';
import { TroupeError } from '../../core/errors.ts';
import type { Era } from '../../core/events.ts';
import { isJson, type Json } from '../../core/json-rpc.ts';
import type { Limits } from '../../core/limits.ts';
import { fromSdk } from '../errors.ts';
import type { Validators } from '../wire/validators.ts';
import type { Wire } from '../wire/wire.ts';
import { LiveSession } from './live-session.ts';
import type { HostDoor, Session } from './session.ts';
import type { Verdict, Verdicts } from './verdicts.ts';
import { postsEach } from '../wire/channel.ts';

const MODERN_REVISION = '2026-07-28';

export interface OpenOptions {
  readonly wire: Wire;
  readonly clientInfo: Implementation;
  /** Which era to speak; `auto` asks first, unless a verdict is known. */
  readonly era: 'auto' | Era;
  /** A verdict given by the host, used before any cached one. */
  readonly prior?: Verdict | undefined;
  readonly verdicts: Verdicts;
  /** Server and credential: what a verdict belongs to. */
  readonly verdictKey: string;
  /** The last attempt showed that asking ends the server: open it as a legacy one. */
  readonly assumeLegacy: boolean;
  readonly host: HostDoor;
  /** Level of log messages wanted from a modern server; absent means none. */
  readonly logLevel?: string | undefined;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly validators: Validators;
  readonly batchWindowMs: number;
  /** For the whole opening, milliseconds; `cancellation` ends it. */
  readonly timeoutMs: number;
  readonly cancellation: Cancellation;
}

/** What an opening that failed asks of the next one; found in `data.reopen` of its error. */
export type Reopen = 'legacy' | 'probe';

/** A silent stdio server is a legacy one; waiting longer than this for it to show delays everyone. */
const PROBE_SHARE = 0.3;

/**
 * The time of the opening is kept by `cancellation`, on our clock. The SDK's own timer, which does not know that a host
 * that stalled has answers lying ready, comes this far behind, milliseconds.
 */
const BEHIND_OURS_MS = 60_000;

/**
 * Opens the protocol on a wire: negotiation, handshake, and the lane of ordinary requests. A fresh SDK client serves
 * each call; on failure the wire is left to its owner, who closes it.
 */
export async function openSession(options: OpenOptions): Promise<Session> {
  const { wire, cancellation, verdicts, verdictKey } = options;
  const facts = { server: wire.server, connection: wire.connection };
  const cached = options.prior ?? (options.era === 'auto' ? verdicts.get(verdictKey) : undefined);
  const prior: Verdict | undefined = options.assumeLegacy ? { kind: 'legacy' } : cached;
  const client = createClient(options, prior);
  const slot = cancellation.listen(() => wire.sdkLane.closed());
  try {
    await client.connect(wire.sdkLane, {
      timeout: options.timeoutMs + BEHIND_OURS_MS,
      ...(prior === undefined ? {} : { prior: prior as PriorDiscovery }),
    });
  } catch (error) {
    const { reason } = cancellation;
    // A server over HTTP that says nothing to the probe for all of the time may be one that does not know it.
    if (reason?.code === 'deadline_exceeded' && wasProbe(options, prior)) throw toLegacy(reason);
    throw reason ?? failedOpening(error, options, prior);
  } finally {
    cancellation.ignore(slot);
  }
  cancellation.throwIfCancelled();
  const version = client.getNegotiatedProtocolVersion();
  if (version === undefined)
    throw new TroupeError('protocol_error', 'the opening ended without a protocol version', facts);
  const era: Era = client.getProtocolEra() === 'modern' ? 'modern' : 'legacy';
  const session = new LiveSession({
    wire,
    client,
    era,
    protocolVersion: version,
    envelope: era === 'modern' ? envelope(options, version) : undefined,
    limits: options.limits,
    clock: options.clock,
    validators: options.validators,
    batchWindowMs: options.batchWindowMs,
  });
  if (prior?.kind === 'modern' && options.prior === undefined) await confirm(session, options);
  // What was only tried since the probe came to nothing is no verdict: the next opening asks again.
  if (options.era === 'auto' && !(options.assumeLegacy && postsEach(wire.channel))) {
    const discover = client.getDiscoverResult();
    verdicts.put(
      verdictKey,
      era === 'modern' && isJson(discover) ? { kind: 'modern', discover } : { kind: 'legacy' },
    );
  }
  return session;
}

function createClient(options: OpenOptions, prior: Verdict | undefined): Client {
  const { wire, host, era } = options;
  const negotiation: VersionNegotiationOptions | undefined =
    prior !== undefined || era === 'legacy' || options.assumeLegacy
      ? undefined
      : {
          mode: era === 'modern' ? { pin: MODERN_REVISION } : 'auto',
          probe: {
            timeoutMs: Math.max(
              1,
              Math.round(options.timeoutMs * (wire.channel.kind === 'stdio' ? PROBE_SHARE : 1)),
            ),
          },
        };
  const client = new Client(options.clientInfo, {
    capabilities: host.capabilities,
    // Results are checked by our own lane; the SDK's default validator compiles every schema it sees and keeps it.
    jsonSchemaValidator: {
      getValidator: () => (input) => ({ valid: true, data: input as never, errorMessage: undefined }),
    },
    ...(negotiation === undefined ? {} : { versionNegotiation: negotiation }),
  });
  client.onerror = (error) =>
    wire.noticed(fromSdk(error, { server: wire.server, connection: wire.connection }));
  const declared = host.capabilities;
  if (declared['sampling'] !== undefined) {
    client.setRequestHandler(
      'sampling/createMessage',
      async (request, context) =>
        (await host.ask(request.method, request.params as Json, context.mcpReq.signal)) as never,
    );
  }
  if (declared['elicitation'] !== undefined) {
    client.setRequestHandler(
      'elicitation/create',
      async (request, context) =>
        (await host.ask(request.method, request.params as Json, context.mcpReq.signal)) as never,
    );
  }
  if (declared['roots'] !== undefined) {
    client.setRequestHandler(
      'roots/list',
      async (request, context) =>
        (await host.ask(request.method, request.params as Json | undefined, context.mcpReq.signal)) as never,
    );
  }
  return client;
}

/** The `_meta` of every modern request (2026-07-28): version and capabilities are a must, client info a should. */
function envelope(options: OpenOptions, version: string): Json {
  return Object.freeze({
    [PROTOCOL_VERSION_META_KEY]: version,
    [CLIENT_INFO_META_KEY]: options.clientInfo,
    [CLIENT_CAPABILITIES_META_KEY]: options.host.capabilities,
    ...(options.logLevel === undefined ? {} : { [LOG_LEVEL_META_KEY]: options.logLevel }),
  });
}

/** A verdict may be stale: the first list shows whether the server still speaks what it says. */
async function confirm(session: LiveSession, options: OpenOptions): Promise<void> {
  const method = ['tools/list', 'resources/list', 'prompts/list'].find((m) => session.supports(m));
  if (method === undefined) return;
  let result: Json;
  try {
    result = await session.request({ method, params: undefined, cancellation: options.cancellation });
  } catch (error) {
    const known = TroupeError.from(error);
    if (known.code === 'cancelled' || known.code === 'deadline_exceeded') throw known;
    const asksForSession = isJson(known.data) && known.data['reason'] === 'session_expired';
    if (known.code === 'unavailable' || known.code === 'auth_required') throw known;
    if (known.code === 'connection_lost' && !asksForSession) throw known;
    throw stale(options, known);
  }
  // Many legacy servers answer whatever comes, `initialize` or not; but a modern result says its type.
  if (result['resultType'] === undefined) {
    const { server, connection } = options.wire;
    throw stale(
      options,
      new TroupeError('protocol_error', `${method} was answered in the legacy way`, {
        server,
        connection,
        delivery: 'answered',
      }),
    );
  }
}

/** The verdict on file is forgotten, and the next opening asks. */
function stale(options: OpenOptions, error: TroupeError): TroupeError {
  options.verdicts.drop(options.verdictKey);
  return error.with({ data: { reopen: 'probe' satisfies Reopen, reason: 'the cached verdict is stale' } });
}

function wasProbe({ wire, era }: OpenOptions, prior: Verdict | undefined): boolean {
  return era === 'auto' && prior === undefined && postsEach(wire.channel);
}

/** A defect of the server: not what one says that is down, busy, or wants credentials. */
function isDefect({ data }: TroupeError): boolean {
  const status = isJson(data) ? data['status'] : undefined;
  return status === 500 || status === 501;
}

function toLegacy(error: TroupeError): TroupeError {
  return error.with({
    data: { ...(isJson(error.data) ? error.data : {}), reopen: 'legacy' satisfies Reopen },
  });
}

function failedOpening(error: unknown, options: OpenOptions, prior: Verdict | undefined): TroupeError {
  const { wire, verdicts, verdictKey } = options;
  const facts = { server: wire.server, connection: wire.connection };
  const lost = wire.closeCause;
  const known = lost ?? fromSdk(error, facts);
  const usedCached = prior !== undefined && !options.assumeLegacy && options.prior === undefined;
  if (usedCached && known.code !== 'unavailable' && known.code !== 'auth_required' && lost === undefined) {
    verdicts.drop(verdictKey);
    return known.with({
      ...facts,
      data: { reopen: 'probe' satisfies Reopen, reason: 'the cached verdict is stale' },
    });
  }
  // Some servers end on any request before `initialize`: that they did is the answer to the question.
  const ends = !postsEach(wire.channel) && lost !== undefined;
  if (options.era === 'auto' && prior === undefined && ends) return toLegacy(known.with(facts));
  // Others have a defect there: they get the question that they know.
  if (wasProbe(options, prior) && isDefect(known)) return toLegacy(known.with(facts));
  return known.with(facts);
}

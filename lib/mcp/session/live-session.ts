import { LOG_LEVEL_META_KEY, type Client } from '@modelcontextprotocol/client';
import { Cancellation } from '../../core/cancellation.ts';
import type { Clock, Disarm } from '../../core/clock.ts';
import { TroupeError } from '../../core/errors.ts';
import type { Era } from '../../core/events.ts';
import { isJson, type Json } from '../../core/json-rpc.ts';
import type { Limits } from '../../core/limits.ts';
import type { Dispatcher } from '../wire/dispatcher.ts';
import { headerValue, paramHeaderValues, paramHeaders } from '../wire/param-headers.ts';
import type { Validators } from '../wire/validators.ts';
import type { Wire } from '../wire/wire.ts';
import { announcesListChanges, supportsMethod } from './capabilities.ts';
import type { Session, SessionObserver, SessionRequest } from './session.ts';
import {
  legacySubscriptions,
  modernSubscriptions,
  type Subscriptions,
  type Refusals,
} from './subscriptions.ts';
import { postsEach } from '../wire/channel.ts';

export interface LiveSessionOptions {
  readonly wire: Wire;
  readonly client: Client;
  readonly era: Era;
  readonly protocolVersion: string;
  readonly envelope: Json | undefined;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly validators: Validators;
  /** How long a batch waits for more; 0: until the end of the turn. Milliseconds. */
  readonly batchWindowMs: number;
}

/** Time for the small requests a session makes by itself (subscribe, listen acknowledgement), milliseconds. */
const HOUSEKEEPING_MS = 10_000;

interface KnownTool {
  readonly outputSchema: Json | undefined;
  readonly headers: ReturnType<typeof paramHeaders>;
}

/** The session that `openSession` returns. */
export class LiveSession implements Session {
  readonly era: Era;
  readonly protocolVersion: string;
  readonly serverInfo: Json;
  readonly capabilities: Json;
  readonly instructions: string | undefined;
  readonly #options: LiveSessionOptions;
  readonly #dispatcher: Dispatcher;
  readonly #mirrorsHeaders: boolean;
  readonly #subscriptions: Subscriptions;
  #tools = new Map<string, KnownTool>();
  #observer: SessionObserver | undefined;
  #untold: { readonly error: TroupeError; readonly count: number } | undefined;
  /** Lost for what is new; what was under way then is still waited for. */
  #retired = false;
  #waitNoLonger: (ms: number) => void = nothing;
  #disarmWait: Disarm | undefined;
  #lost: TroupeError | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: LiveSessionOptions) {
    const { client, wire, era, batchWindowMs: windowMs } = options;
    this.#options = options;
    this.era = era;
    this.protocolVersion = options.protocolVersion;
    this.capabilities = jsonOr(client.getServerCapabilities());
    this.serverInfo = jsonOr(client.getServerVersion());
    this.instructions = client.getInstructions();
    this.#mirrorsHeaders = era === 'modern' && wire.channel.streamPerRequest;
    this.#dispatcher = wire.dispatch(
      {
        envelope: options.envelope,
        later: windowMs > 0 ? (send) => void options.clock.after(windowMs, send) : undefined,
        onFailed: (error) => this.#failed(error),
      },
      options.protocolVersion,
    );
    this.#subscriptions =
      era === 'modern'
        ? modernSubscriptions({
            client,
            capabilities: this.capabilities,
            protocolVersion: this.protocolVersion,
            clock: options.clock,
            server: wire.server,
            connection: wire.connection,
            timeoutMs: HOUSEKEEPING_MS,
            onGap: () => this.#missedChanges(),
            onFailed: (error) => this.#streamFailed(error),
          })
        : legacySubscriptions(
            (request) => this.request(request),
            (cancellation) => this.#housekeeping(cancellation),
          );
    wire.observe({
      // What a session says that nobody uses any more is no news.
      onNotification: (method, params) => {
        if (this.#lost === undefined) this.#observer?.onNotification(method, params);
      },
      onClose: (error) => this.#end(error),
      onGap: () => this.#missedChanges(),
      onOddity: (error, count) => {
        if (this.#observer === undefined) this.#untold = { error, count };
        else this.#observer.onOddity(error, count);
      },
    });
  }

  get transport(): string {
    return this.#options.wire.channel.kind;
  }

  get retired(): boolean {
    return this.#retired;
  }

  get inFlight(): number {
    return this.#dispatcher.size;
  }

  get heard(): number {
    return this.#options.wire.received;
  }

  request(request: SessionRequest): Promise<Json> {
    const { method, params } = request;
    if (!this.supports(method)) return Promise.reject(this.#unsupported(method));
    const answered = this.#dispatcher.call(
      this.#mirrorsHeaders ? { ...request, headers: this.#headers(method, params) } : request,
    );
    const known = method === 'tools/call' ? this.#tools.get(String(params?.['name'])) : undefined;
    if (known?.outputSchema === undefined) return answered;
    const schema = known.outputSchema;
    return answered.then((result) => this.#checked(result, schema, String(params?.['name'])));
  }

  notify(method: string, params?: Json): void {
    const { wire, envelope } = this.#options;
    const body = envelope === undefined ? params : { ...params, _meta: envelope };
    const sent = wire.channel.send({
      jsonrpc: '2.0',
      method,
      ...(body === undefined ? {} : { params: body }),
    });
    if (sent !== undefined) sent.catch((error: unknown) => wire.noticed(TroupeError.from(error)));
  }

  supports(method: string): boolean {
    return supportsMethod(this.capabilities, method, this.protocolVersion);
  }

  observe(observer: SessionObserver): void {
    this.#observer = observer;
    // What was odd while the session opened: one report, with the number of them all.
    if (this.#untold !== undefined) observer.onOddity(this.#untold.error, this.#untold.count);
    if (this.#lost !== undefined) observer.onLost(this.#lost);
  }

  setSubscriptions(uris: ReadonlySet<string>): Promise<Refusals> {
    return this.#subscriptions.set(uris);
  }

  async setLogLevel(level: string): Promise<void> {
    const { envelope } = this.#options;
    if (envelope !== undefined) {
      this.#dispatcher.setEnvelope(Object.freeze({ ...envelope, [LOG_LEVEL_META_KEY]: level }));
      return;
    }
    const cancellation = new Cancellation();
    const done = this.#housekeeping(cancellation);
    try {
      await this.request({ method: 'logging/setLevel', params: { level }, cancellation });
    } finally {
      done();
    }
  }

  knowTools(tools: readonly Json[]): void {
    const known = new Map<string, KnownTool>();
    for (const tool of tools) {
      const outputSchema = isJson(tool['outputSchema']) ? tool['outputSchema'] : undefined;
      const headers = this.#mirrorsHeaders ? paramHeaders(tool['inputSchema']) : [];
      if (outputSchema !== undefined || headers.length > 0)
        known.set(String(tool['name']), { outputSchema, headers });
    }
    this.#tools = known;
  }

  close(graceMs: number): Promise<void> {
    if (this.#closing === undefined) this.#closing = this.#close(graceMs);
    // A stop that comes while what is left of a lost session is waited for gives it no more time than its own.
    else this.#waitNoLonger(graceMs);
    return this.#closing;
  }

  async #close(graceMs: number): Promise<void> {
    const { wire, client, clock } = this.#options;
    const started = clock.now();
    this.#subscriptions.close();
    const restMs = this.#retired ? RETIRED_MS : this.#lost === undefined ? graceMs : 0;
    if (this.#dispatcher.size > 0 && restMs > 0) {
      await new Promise<void>((resolve) => {
        this.#waitNoLonger = (ms) => {
          this.#disarmWait?.();
          this.#disarmWait = clock.after(ms, resolve);
        };
        this.#waitNoLonger(restMs);
        void this.#dispatcher.drained().then(resolve);
      });
      this.#disarmWait?.();
      this.#waitNoLonger = nothing;
    }
    this.#dispatcher.abort(this.#reasonToEnd());
    await wire.channel.close(Math.max(0, graceMs - (clock.now() - started)));
    await client.close().catch(() => {});
  }

  #reasonToEnd(): TroupeError {
    const { server, connection } = this.#options.wire;
    const lost = this.#retired ? this.#lost : undefined;
    // Those still under way on a lost session were not refused, as the one that ended it was: they have had their time.
    return lost === undefined
      ? new TroupeError('stopped', 'the engine ended the connection', { server, connection })
      : new TroupeError('connection_lost', `no answer came after the session was lost: ${lost.detail}`, {
          server,
          connection,
          cause: lost,
        });
  }

  #end(error: TroupeError): void {
    if (this.#lost === undefined) {
      this.#lost = error;
      this.#subscriptions.close();
      this.#dispatcher.close(error);
      this.#observer?.onLost(error);
    } else if (this.#retired) this.#dispatcher.close(error);
  }

  /**
   * A refused connection or refused credentials end the session, not only this request: the next one would fare alike. What
   * has gone out before on a way of its own may still be answered.
   */
  #failed(error: TroupeError): void {
    if (this.#closing === undefined && this.#lost === undefined && endsSession(error)) this.#retire(error);
  }

  #retire(error: TroupeError): void {
    if (!postsEach(this.#options.wire.channel)) {
      this.#end(error);
      return;
    }
    this.#retired = true;
    this.#lost = error;
    this.#subscriptions.close();
    this.#dispatcher.refuse(error);
    this.#observer?.onLost(error);
  }

  #checked(result: Json, schema: Json, tool: string): Json {
    if (
      result['isError'] === true ||
      (result['resultType'] !== undefined && result['resultType'] !== 'complete')
    )
      return result;
    const { wire, validators } = this.#options;
    const facts = { server: wire.server, connection: wire.connection, delivery: 'answered' as const };
    if (result['structuredContent'] === undefined) {
      throw new TroupeError(
        'invalid_response',
        `tool ${tool} declares an outputSchema but sent no structuredContent`,
        facts,
      );
    }
    const verdict = validators.check(schema, result['structuredContent'], `${wire.server}/${tool}`);
    if (verdict.outcome === 'valid') return result;
    if (verdict.outcome === 'invalid') {
      throw new TroupeError(
        'invalid_response',
        `structuredContent of tool ${tool} breaks its outputSchema: ${verdict.reason}`,
        facts,
      );
    }
    wire.noticed(
      new TroupeError(
        'unsupported',
        `outputSchema of tool ${tool} cannot be checked: ${verdict.reason}`,
        facts,
      ),
    );
    return result;
  }

  #headers(method: string, params: Json | undefined): Record<string, string> {
    const headers: Record<string, string> = { 'Mcp-Method': method };
    const name = method === 'resources/read' ? params?.['uri'] : params?.['name'];
    if (typeof name === 'string' && NAMED.has(method)) headers['Mcp-Name'] = headerValue(name);
    if (method !== 'tools/call') return headers;
    const declared = this.#tools.get(String(params?.['name']))?.headers;
    return declared === undefined || declared.length === 0
      ? headers
      : Object.assign(headers, paramHeaderValues(declared, params?.['arguments']));
  }

  #housekeeping(cancellation: Cancellation): () => void {
    const { wire, clock } = this.#options;
    return clock.after(HOUSEKEEPING_MS, () =>
      cancellation.cancel(
        new TroupeError('deadline_exceeded', `no answer within ${HOUSEKEEPING_MS} ms`, {
          server: wire.server,
          connection: wire.connection,
        }),
      ),
    );
  }

  #missedChanges(): void {
    if (this.#lost !== undefined) return;
    for (const feature of ['tools', 'resources', 'prompts'] as const) {
      if (announcesListChanges(this.capabilities, feature))
        this.#observer?.onNotification(`notifications/${feature}/list_changed`, undefined);
    }
  }

  #streamFailed(error: TroupeError): void {
    if (!endsSession(error)) this.#observer?.onOddity(error, 1);
    else if (this.#lost === undefined) this.#retire(error);
  }

  #unsupported(method: string): TroupeError {
    const { wire } = this.#options;
    return new TroupeError('unsupported', `the server does not advertise what ${method} needs`, {
      server: wire.server,
      connection: wire.connection,
    });
  }
}

const NAMED: ReadonlySet<string> = new Set(['tools/call', 'prompts/get', 'resources/read']);

function jsonOr(value: unknown): Json {
  return isJson(value) ? value : {};
}

const nothing = (): void => {};

/** How long what is under way on a lost session may still be answered, beside the next one, milliseconds. */
const RETIRED_MS = 60_000;

/** The server speaks another revision than the one that was agreed on. */
const UNSUPPORTED_PROTOCOL_VERSION = -32_022;

/**
 * Refused before anything was sent, and not for being busy (that has a status): the server is not there, or does not know us.
 * Or it has become another one, with which the opening has to be made anew.
 */
function endsSession(error: TroupeError): boolean {
  const data = isJson(error.data) ? error.data : undefined;
  if (error.code === 'auth_required') return data?.['status'] !== 403;
  if (data?.['code'] === UNSUPPORTED_PROTOCOL_VERSION) return saysWhatItSpeaks(data['data']);
  if (error.delivery !== 'unsent') return false;
  if (error.code === 'connection_lost') return data?.['reason'] === 'session_expired';
  return error.code === 'unavailable' && data?.['status'] === undefined;
}

/** The code alone may be one of a server's own. */
function saysWhatItSpeaks(data: unknown): boolean {
  return isJson(data) && Array.isArray(data['supported']);
}

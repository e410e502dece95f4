import type { ResolvedReplica, ResolvedServer } from '../config/config.ts';
import type { Clock } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';
import type { Json } from '../core/json-rpc.ts';
import { readAnswer } from '../mcp/authorization/answer.ts';
import { createCredentials, type Credentials } from '../mcp/authorization/credentials.ts';
import type { TokenStore } from '../mcp/authorization/token-store.ts';

export interface ServerCredentialsDeps {
  readonly clock: Clock;
  /** Where tokens of a server outlive the process; undefined: they live in memory. */
  readonly tokens: ((server: string) => TokenStore) | undefined;
  /** A token or code of a server that is obtained at run time. */
  readonly onSecret: (server: string, secret: string) => void;
  /** The text without any of our secrets. */
  readonly clean: (text: string) => string;
}

/** The credentials of one server, by URL: replicas at one address share tokens and refreshes. */
export class ServerCredentials {
  readonly #server: ResolvedServer;
  readonly #deps: ServerCredentialsDeps;
  readonly #byUrl = new Map<string, Credentials>();

  constructor(server: ResolvedServer, deps: ServerCredentialsDeps) {
    this.#server = server;
    this.#deps = deps;
  }

  /** Undefined where a replica has no address that could take any. */
  of({ where }: ResolvedReplica): Credentials | undefined {
    if (where.kind !== 'http' && where.kind !== 'websocket') return undefined;
    const { url, headers } = where;
    let credentials = this.#byUrl.get(url.href);
    if (credentials === undefined) {
      const { name, auth, tls, limits, allowInsecure } = this.#server;
      const { clock, tokens, onSecret, clean } = this.#deps;
      credentials = createCredentials({
        auth,
        server: name,
        url,
        headers,
        tls,
        allowInsecure,
        limits,
        clock,
        store: tokens?.(name),
        onSecret: (secret) => onSecret(name, secret),
        clean,
      });
      this.#byUrl.set(url.href, credentials);
    }
    return credentials;
  }

  /** Takes what the host says to an `auth.required`; without an answer, all begin anew. */
  async answer(answer: Json | undefined): Promise<void> {
    const { name, replicas } = this.#server;
    const all = [...new Set(replicas.map((replica) => this.of(replica)))].filter(
      (credentials) => credentials !== undefined,
    );
    if (answer === undefined) {
      for (const credentials of all) credentials.restart();
      return;
    }
    const [first] = all;
    if (first === undefined)
      throw new TroupeError('unsupported', 'only servers with an address take credentials', { server: name });
    const read = readAnswer(answer, name);
    const state = read.kind === 'token' ? undefined : (read.params.get('state') ?? undefined);
    const meant =
      read.kind === 'token' ? all : [all.find((credentials) => credentials.awaits(state)) ?? first];
    for (const credentials of meant) await credentials.answer(read);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#byUrl.values()].map((credentials) => credentials.close()));
  }
}

import type { Config, EngineConfig } from '../../../lib/config/config.ts';
import type { ErrorCode } from '../../../lib/core/errors.ts';
import type { Engine } from '../../../lib/engine/contract.ts';
import type { AuthorizationWorld } from '../authorization-world.ts';
import type { Fault } from '../bad-http.ts';

/** What a case may use; whatever it makes is taken down after it, and what leaves the engine is looked through. */
export interface Bench {
  engine(config: EngineConfig | Config): Engine;
  directory(): string;
  /** The mini server on Streamable HTTP with one fault: its address. */
  http(fault: Fault): Promise<string>;
  /** An MCP server that wants a token, and its authorization server. */
  world(): Promise<AuthorizationWorld>;
  readonly secrets: Secrets;
}

/** Planted: none of these may stand in anything that leaves the engine but towards the server it is for. */
export interface Secrets {
  readonly bearer: string;
  readonly dynamic: string;
  readonly given: string;
  readonly header: string;
  readonly env: string;
  readonly argument: string;
  readonly query: string;
  readonly userinfo: string;
  readonly client: string;
  readonly passphrase: string;
  readonly key: string;
  readonly code: string;
}

/** One thing that somebody gets wrong, and the error that tells. */
export interface BadInput {
  readonly name: string;
  readonly code: ErrorCode | readonly ErrorCode[];
  /** Which server the error names. */
  readonly server?: string;
  /** The field, or what to do. */
  readonly says: RegExp;
  /** Rejects, throws or gives the error. */
  readonly run: (bench: Bench) => unknown;
}

export const wrong = (value: unknown): never => value as never;

import type { EngineConfig, ServerConfig } from '../../lib/config/config.ts';
import type { Engine } from '../../lib/engine/contract.ts';
import { engines } from './engines.ts';
import { createScriptedPeer, type ScriptedPeer, type ScriptedPeerOptions } from './scripted-peer.ts';

interface ScriptedServer extends ScriptedPeerOptions {
  /** What stands in the configuration beside the transport. */
  readonly config?: ServerConfig;
  /** Every attempt to connect fails while this says why. */
  readonly down?: () => string | undefined;
}

export interface ScriptedFleet<Name extends string> {
  readonly engine: Engine;
  /** What the engine was made of. */
  readonly config: Omit<EngineConfig, 'servers'> & { readonly servers: Readonly<Record<Name, ServerConfig>> };
  readonly peers: Readonly<Record<Name, ScriptedPeer>>;
  /** The requests of a method that a server got. */
  got(name: Name, method: string): ReadonlyArray<Readonly<Record<string, unknown>> | undefined>;
}

/** Makes engines of servers that say what the spec tells them to, in order of declaration; not started. */
export function scriptedFleets(): <Name extends string>(
  servers: Readonly<Record<Name, ScriptedServer>>,
  config?: EngineConfig,
) => ScriptedFleet<Name> {
  const engine = engines();
  return (servers, config = {}) => {
    type Name = keyof typeof servers;
    const peers: Partial<Record<Name, ScriptedPeer>> = {};
    const configured = {} as Record<Name, ServerConfig>;
    for (const [name, { config: own, down, ...options }] of Object.entries<ScriptedServer>(servers)) {
      const peer = createScriptedPeer(options);
      peers[name as Name] = peer;
      configured[name as Name] = {
        era: 'legacy',
        ...own,
        transport: () => {
          const why = down?.();
          if (why !== undefined) throw new Error(why);
          return peer.transport;
        },
      };
    }
    const made = peers as Record<Name, ScriptedPeer>;
    const whole = { ...config, servers: configured };
    return {
      engine: engine(whole),
      config: whole,
      peers: made,
      got: (name, method) =>
        made[name].received
          .filter((message) => 'method' in message && message.method === method)
          .map((message) => ('params' in message ? message.params : undefined)),
    };
  };
}

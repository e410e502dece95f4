import type { Config, Place } from '../config/config.ts';
import type { Json } from '../core/json-rpc.ts';
import type { EngineParts } from './compose.ts';

/** What each stage of the path has done, and the tree of servers, connections and sessions, as plain JSON. Values that may be secret are left out, not masked. */
export function inspect(config: Config, parts: EngineParts): Json {
  const snapshot = parts.snapshot();
  return {
    at: new Date(snapshot.at).toISOString(),
    naming: typeof config.naming === 'function' ? 'function' : config.naming,
    stages: { ...parts.stages },
    servers: snapshot.servers.map((row) => {
      const server = parts.servers.get(row.name);
      return {
        name: row.name,
        availability: row.availability,
        era: server?.config.era,
        lazy: server?.config.lazy,
        places: server?.config.replicas.map(({ id, where }) => ({ id, ...publicPlace(where) })),
        inventory: parts.counts(row.name),
        watched: server?.watched.size,
        connections: row.connections.map((connection) => ({
          ...connection,
          since: new Date(connection.since).toISOString(),
          error: connection.error?.toJSON(),
        })),
      };
    }),
  };
}

/** Arguments, variables, headers and URL queries may carry secrets: only their names and number are shown. */
function publicPlace(place: Place): Json {
  switch (place.kind) {
    case 'stdio':
      return {
        kind: 'stdio',
        command: place.command,
        arguments: place.args.length,
        env: Object.keys(place.env),
        cwd: place.cwd,
      };
    case 'http':
    case 'websocket':
      return {
        kind: place.kind,
        url: `${place.url.origin}${place.url.pathname}`,
        headers: Object.keys(place.headers),
      };
    default:
      return { kind: place.kind };
  }
}

/** The packed engine with the README's defaults, a rule and a listener; `heavy`: twenty rules and a file audit. */
import { memoryPeer } from '../peers/memory-peer.mjs';

export async function open({ transport, program, url, packed, heavy, audit }) {
  const { createEngine } = await import(packed);
  let peer;
  let judged = 0;
  /** Held against every call; counts them. */
  const rule = {
    effect: 'deny',
    servers: ['peer'],
    tools: ['echo'],
    when: ({ principal }) => {
      judged += 1;
      return principal?.id === 'intruder';
    },
  };
  // Nineteen more that are about this server, and about none of its tools.
  const others = Array.from({ length: heavy ? 19 : 0 }, (_, i) => ({
    effect: 'deny',
    servers: ['peer', `other-${i}`],
    tools: [`write_${i}_*`, `delete_${i}_*`],
  }));
  const where =
    transport === 'memory'
      ? { transport: () => (peer = memoryPeer()) }
      : transport === 'stdio'
        ? { command: program.command, args: program.args }
        : { url };
  const engine = createEngine({
    servers: { peer: where },
    policy: { rules: [...others, rule] },
    ...(heavy ? { audit } : {}),
  });
  const seen = { settled: 0, failed: 0, attempts: 0, unrouted: 0 };
  engine.on('request.settled', ({ ok, attempts, connection }) => {
    seen.settled += 1;
    seen.attempts += attempts;
    if (!ok) seen.failed += 1;
    if (connection === undefined) seen.unrouted += 1;
  });
  const fleet = await engine.start();
  await engine.listTools();
  // A list is held against the rule as well; only calls count.
  judged = 0;
  const before = engine.inspect().stages;
  return {
    call: (args, options) => engine.callTool('peer__echo', args, options),
    close: () => engine.stop(),
    pid: fleet.connections[0]?.pid,
    /** What every call has left behind: events, attempts, the load meter, the policy, the audit, and what each stage counts. */
    async counters() {
      const trail = heavy ? await engine.verifyAudit() : undefined;
      if (trail?.ok === false) throw new Error(`the audit file is broken: ${JSON.stringify(trail)}`);
      return {
        ...seen,
        judged,
        metered: engine.fleet.connections[0]?.calls ?? 0,
        ...(peer === undefined ? {} : { answered: peer.answered }),
        ...(trail === undefined ? {} : { audited: trail.records }),
        ...since(before, engine.inspect().stages),
      };
    },
  };
}

/** By how much each stage of the path has grown. */
function since(before, after) {
  return Object.fromEntries(Object.entries(after).map(([stage, count]) => [stage, count - before[stage]]));
}

/** One engine for all of them, as it is meant. */
export async function openAll(programs, { packed }) {
  const { createEngine } = await import(packed);
  const engine = createEngine({
    servers: Object.fromEntries(programs.map((program, i) => [`s${i}`, program])),
  });
  await engine.start();
  await engine.listTools();
  const clients = programs.map((_, i) => {
    const name = `s${i}__echo`;
    return { call: (args, options) => engine.callTool(name, args, options) };
  });
  return {
    clients,
    close: () => engine.stop(),
  };
}

import { Attempt, type AttemptOptions, type Link } from '../../lib/connection/attempt.ts';
import { createClock } from '../../lib/core/clock.ts';
import { createVerdicts } from '../../lib/mcp/session/verdicts.ts';
import { createCustomChannel } from '../../lib/mcp/transports/custom.ts';
import type { Channel } from '../../lib/mcp/wire/channel.ts';
import { createValidators } from '../../lib/mcp/wire/validators.ts';
import { createStartGate } from '../../lib/supervision/start-gate.ts';
import { limitsWith } from './channel-dialogue.ts';
import { createScriptedPeer, type ScriptedPeer } from './scripted-peer.ts';

/** What attempts are made of, ready to be changed by a spec: a scripted peer at the end of each link. */
export interface Workshop {
  readonly peer: ScriptedPeer;
  /** Of each attempt: the link it was given. */
  readonly links: RecordedLink[];
  /** The channel to the peer, unopened. */
  channel(): Channel;
  attempt(over?: Partial<AttemptOptions>): Attempt;
}

interface RecordedLink extends Link {
  connects: number;
  /** Grace times of the releases, milliseconds. */
  readonly releases: number[];
}

/** `link` takes the place of parts of each link. */
export function workshop(link: (workshop: Workshop) => Partial<Link> = () => ({})): Workshop {
  const peer = createScriptedPeer({ tools: ['echo'] });
  const clock = createClock();
  const limits = limitsWith();
  const verdicts = createVerdicts({ wallTime: clock.wallTime });
  const validators = createValidators({ limits });
  const made: Workshop = {
    peer,
    links: [],
    channel: () => createCustomChannel({ transport: () => peer.transport, limits, clock, server: 's' }),
    attempt(over = {}) {
      const own: Link = {
        connect: () => Promise.resolve(made.channel()),
        release: () => Promise.resolve(),
        ...link(made),
      };
      const recorded: RecordedLink = {
        connects: 0,
        releases: [],
        connect(cancellation) {
          recorded.connects += 1;
          return own.connect(cancellation);
        },
        release(graceMs) {
          recorded.releases.push(graceMs);
          return own.release(graceMs);
        },
      };
      made.links.push(recorded);
      return new Attempt({
        link: recorded,
        server: 's',
        connection: 's#0',
        assumeLegacy: false,
        startTimeoutMs: 10_000,
        gate: createStartGate(1),
        clock,
        clientInfo: { name: 'spec', version: '1' },
        era: 'legacy',
        verdicts,
        verdictKey: 's',
        host: { capabilities: {}, ask: () => Promise.reject(new Error('nobody answers')) },
        limits,
        validators,
        batchWindowMs: 0,
        ...over,
      });
    },
  };
  return made;
}

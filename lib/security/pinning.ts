import { TroupeError, errorText } from '../core/errors.ts';
import { revealHidden } from './invisible.ts';
import { subkey } from './keys.ts';
import type { KeySource } from './keys.ts';
import { lineDiff } from './line-diff.ts';
import { decodePins, encodePins } from './pin-document.ts';
import type { Pin, ServerPins } from './pin-document.ts';
import type { StateStore } from './state-store.ts';

/** Something as it is now. `text` is what a person would read (`readableDefinition`); called only where it is needed. */
export interface Sighting {
  /** Equal exactly when the definition is: a hash of its canonical form. */
  readonly fingerprint: string;
  readonly text: () => string;
}

export interface ServerSighting {
  /** Command and arguments, or URL: how the configuration says the server is reached. Absent: not pinned. */
  readonly launch?: Sighting | undefined;
  readonly tools: ReadonlyMap<string, Sighting>;
}

/**
 * `new`: not seen before, and first sight needs approval. `changed`: not what was accepted. `launch-changed`: the server is
 * started or reached another way. `pins-damaged`: what was accepted cannot be read. `not-saved`: it could not be
 * written down. `unlisted`: the server never listed it.
 */
export type QuarantineReason =
  | 'new'
  | 'changed'
  | 'launch-changed'
  | 'pins-damaged'
  | 'not-saved'
  | 'unlisted';

export interface Quarantine {
  readonly server: string;
  readonly tool: string;
  readonly reason: QuarantineReason;
  /** One sentence for a person. */
  readonly detail: string;
  /** What changed, hidden characters shown; for `changed` and `launch-changed`. */
  readonly diff?: string;
  readonly fingerprint?: string;
}

export interface PinsOptions {
  readonly store: StateStore;
  /** `trust-on-first-use` (default): what is new is accepted and pinned. `approve`: it waits for `approve`. */
  readonly firstSight?: 'trust-on-first-use' | 'approve';
  /** Seals the pins, so that nobody can accept something by editing the file. Without it a checksum finds damage only. */
  readonly key?: KeySource;
  /** Told of each tool when it enters quarantine, and again when it changes there. */
  readonly onQuarantined?: (quarantine: Quarantine) => void;
}

/** What was accepted of each server. Whatever is not certain is in quarantine; nothing leaves it but by `approve` or by being again what was accepted. */
export interface Pins {
  /** Compares what a server is now with what was accepted. Gives all that is in quarantine. Call it with every new inventory, before it is exposed. */
  review(server: string, seen: ServerSighting): readonly Quarantine[];
  /** Why a tool must not be called; `undefined` when it may. A tool that no review has seen is `unlisted`. */
  quarantined(server: string, tool: string): Quarantine | undefined;
  /**
   * Accepts what the last review saw: one tool, or the server with all its tools and the way it is launched. With
   * `fingerprint` only if the tool still is what was shown. Throws `not_found`, `denied` (changed meanwhile, or more
   * than this tool is wrong) or `internal` (could not be saved; then nothing is accepted).
   */
  approve(server: string, tool?: string, fingerprint?: string): void;
  /** Forgets a server that left the configuration: it would be new again. */
  forget(server: string): void;
}

interface Reviewed {
  readonly seen: ServerSighting;
  readonly held: ReadonlyMap<string, Quarantine>;
}

const NOTHING_PINNED: ServerPins = { launch: undefined, tools: new Map() };

export function createPins(options: PinsOptions): Pins {
  return new PinBook(options);
}

class PinBook implements Pins {
  readonly #options: PinsOptions;
  readonly #key: ReturnType<typeof subkey> | undefined;
  readonly #pins: Map<string, ServerPins>;
  readonly #damaged: Map<string, string>;
  readonly #lost: string | undefined;
  readonly #reviewed = new Map<string, Reviewed>();

  constructor(options: PinsOptions) {
    this.#options = options;
    this.#key = options.key === undefined ? undefined : subkey(options.key, 'pins', 'pins.key');
    const { servers, damaged, lost } = decodePins(() => options.store.read(), this.#key);
    this.#pins = new Map(servers);
    this.#damaged = new Map(damaged);
    this.#lost = lost;
  }

  review(server: string, seen: ServerSighting): readonly Quarantine[] {
    const before = this.#reviewed.get(server)?.held;
    const held = this.#compare(server, seen);
    this.#reviewed.set(server, { seen, held });
    for (const quarantine of held.values()) {
      const known = before?.get(quarantine.tool);
      if (known?.reason !== quarantine.reason || known.fingerprint !== quarantine.fingerprint)
        this.#tell(quarantine);
    }
    return [...held.values()];
  }

  quarantined(server: string, tool: string): Quarantine | undefined {
    const reviewed = this.#reviewed.get(server);
    if (reviewed?.seen.tools.has(tool) === true) return reviewed.held.get(tool);
    return { server, tool, reason: 'unlisted', detail: `${server} has not listed a tool "${tool}"` };
  }

  approve(server: string, tool?: string, fingerprint?: string): void {
    const reviewed = this.#reviewed.get(server);
    if (reviewed === undefined)
      throw new TroupeError('not_found', 'nothing is known of it yet to approve', { server });
    const { seen } = reviewed;
    const pins = tool === undefined ? pinAll(seen) : this.#withTool(server, reviewed, tool, fingerprint);
    try {
      this.#save(server, pins);
    } catch (error) {
      throw new TroupeError('internal', `the approval could not be saved: ${errorText(error)}`, {
        server,
        cause: error,
      });
    }
    this.#damaged.delete(server);
    this.review(server, seen);
  }

  forget(server: string): void {
    this.#reviewed.delete(server);
    if (!this.#pins.has(server) && !this.#damaged.has(server)) return;
    const rest = new Map(this.#pins);
    rest.delete(server);
    this.#options.store.write(encodePins({ servers: rest, lost: this.#lostAfter(server) }, this.#key));
    this.#pins.delete(server);
    this.#damaged.delete(server);
  }

  #withTool(
    server: string,
    { seen, held }: Reviewed,
    tool: string,
    fingerprint: string | undefined,
  ): ServerPins {
    const sighting = seen.tools.get(tool);
    if (sighting === undefined) throw new TroupeError('not_found', `it lists no tool "${tool}"`, { server });
    if (fingerprint !== undefined && fingerprint !== sighting.fingerprint) {
      throw new TroupeError('denied', `"${tool}" has changed since it was shown; look at it again`, {
        server,
        data: { reason: 'changed', fingerprint: sighting.fingerprint },
      });
    }
    const reason = held.get(tool)?.reason;
    if (reason === 'launch-changed' || reason === 'pins-damaged') {
      throw new TroupeError('denied', `not "${tool}" alone is in question (${reason}): approve the server`, {
        server,
        data: { reason },
      });
    }
    const pins = this.#pins.get(server) ?? NOTHING_PINNED;
    return {
      launch: pins.launch ?? (seen.launch && pinOf(seen.launch)),
      tools: new Map([...pins.tools, [tool, pinOf(sighting)]]),
    };
  }

  #compare(server: string, seen: ServerSighting): ReadonlyMap<string, Quarantine> {
    const names = [...seen.tools.keys()];
    const all = (reason: QuarantineReason, detail: string, diff?: string): ReadonlyMap<string, Quarantine> =>
      new Map(
        names.map((tool) => [tool, holdingOf(server, tool, reason, detail, seen.tools.get(tool), diff)]),
      );
    const damage = this.#damageOf(server);
    if (damage !== undefined)
      return all('pins-damaged', `what was accepted of ${server} cannot be read: ${damage}`);
    const pins = this.#pins.get(server) ?? NOTHING_PINNED;
    if (
      seen.launch !== undefined &&
      pins.launch !== undefined &&
      pins.launch.fingerprint !== seen.launch.fingerprint
    ) {
      return all(
        'launch-changed',
        `${server} is not launched as it was accepted`,
        changeOf(pins.launch, seen.launch),
      );
    }
    return this.#compareTools(server, seen, pins);
  }

  #compareTools(server: string, seen: ServerSighting, pins: ServerPins): ReadonlyMap<string, Quarantine> {
    const held = new Map<string, Quarantine>();
    const fresh = new Map<string, Pin>();
    for (const [tool, sighting] of seen.tools) {
      const pin = pins.tools.get(tool);
      if (pin?.fingerprint === sighting.fingerprint) continue;
      if (pin !== undefined) {
        const diff = changeOf(pin, sighting);
        held.set(
          tool,
          holdingOf(server, tool, 'changed', `"${tool}" is not what was accepted`, sighting, diff),
        );
      } else if (this.#options.firstSight === 'approve') {
        held.set(tool, holdingOf(server, tool, 'new', `"${tool}" waits for approval`, sighting));
      } else {
        fresh.set(tool, pinOf(sighting));
      }
    }
    const launch =
      pins.launch ?? (this.#options.firstSight === 'approve' ? undefined : seen.launch && pinOf(seen.launch));
    if (fresh.size === 0 && launch === pins.launch) return held;
    try {
      this.#save(server, { launch, tools: new Map([...pins.tools, ...fresh]) });
    } catch (error) {
      for (const tool of fresh.keys()) {
        const detail = `"${tool}" could not be written down as accepted: ${errorText(error)}`;
        held.set(tool, holdingOf(server, tool, 'not-saved', detail, seen.tools.get(tool)));
      }
    }
    return held;
  }

  #damageOf(server: string): string | undefined {
    return this.#damaged.get(server) ?? (this.#pins.has(server) ? undefined : this.#lost);
  }

  #save(server: string, pins: ServerPins): void {
    const servers = new Map(this.#pins).set(server, pins);
    this.#options.store.write(encodePins({ servers, lost: this.#lostAfter(server) }, this.#key));
    this.#pins.set(server, pins);
  }

  /** Damaged entries are not written again; what remains of them is that there were some. */
  #lostAfter(server: string): string | undefined {
    const others = [...this.#damaged.keys()].filter((name) => name !== server);
    return this.#lost ?? (others.length === 0 ? undefined : `pins of ${others.join(', ')} were damaged`);
  }

  #tell(quarantine: Quarantine): void {
    try {
      this.#options.onQuarantined?.(quarantine);
    } catch {
      // Whoever listens harms nobody.
    }
  }
}

function pinOf(sighting: Sighting): Pin {
  return { fingerprint: sighting.fingerprint, text: sighting.text() };
}

function changeOf(pin: Pin, now: Sighting): string {
  const diff = lineDiff(revealHidden(pin.text), revealHidden(now.text()));
  return diff === '' ? 'the change lies outside the text that is shown' : diff;
}

function pinAll(seen: ServerSighting): ServerPins {
  return {
    launch: seen.launch && pinOf(seen.launch),
    tools: new Map([...seen.tools].map(([name, sighting]) => [name, pinOf(sighting)])),
  };
}

function holdingOf(
  server: string,
  tool: string,
  reason: QuarantineReason,
  detail: string,
  sighting: Sighting | undefined,
  diff?: string,
): Quarantine {
  return {
    server,
    tool,
    reason,
    detail,
    ...(diff === undefined ? {} : { diff }),
    ...(sighting === undefined ? {} : { fingerprint: sighting.fingerprint }),
  };
}

import { createHash } from 'node:crypto';
import { IDENTITY } from '../catalog/inventory.ts';
import type { Clock } from '../core/clock.ts';
import type { ListKind } from '../core/events.ts';
import type { Json } from '../core/json-rpc.ts';
import type { Logger } from '../core/ports.ts';
import {
  inspectDefinition,
  inspectionBudget,
  type DefinitionFlag,
  type InspectionBudget,
} from '../security/inspect-text.ts';
import { revealHidden } from '../security/invisible.ts';
import type { Redactor } from '../security/redaction.ts';
import type { EventBus } from '../telemetry/event-bus.ts';

export interface ItemFlagsDeps {
  readonly bus: EventBus;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly redactor: Pick<Redactor, 'text'>;
}

/** Watches what servers list for characters that a person does not see and a model reads. */
export interface ItemFlags {
  /**
   * Before the items are shown to anybody: tells what was found in them. Objects that have been looked at to their end
   * are passed over. Never throws.
   */
  inspect(server: string, kind: ListKind, items: readonly Json[]): void;
  forget(server: string): void;
}

/** Findings told of one server; then nothing more of it is looked at. */
const MAX_TOLD = 100;
/** Characters of a name in the log. */
const MAX_LOGGED = 256;

/**
 * Tells `catalog.item_flagged`, once for each finding. It only tells: the item is listed as the server wrote it, since
 * what is hidden may be how a language is written.
 */
export function createItemFlags({ bus, clock, logger, redactor }: ItemFlagsDeps): ItemFlags {
  const told = new Map<string, Set<string>>();
  /** Looked at to their end, by server. */
  const done = new Map<string, WeakSet<Json>>();

  const tell = (
    server: string,
    kind: ListKind,
    item: string,
    flags: readonly DefinitionFlag[],
    findings: Set<string>,
  ): void => {
    // As a digest: what a server calls its things may be megabytes long.
    const finding = createHash('sha256')
      .update(JSON.stringify([kind, item, flags]))
      .digest('base64');
    if (findings.has(finding)) return;
    findings.add(finding);
    logger.warn('a definition holds characters that nobody sees', {
      server,
      item: revealHidden(item.slice(0, MAX_LOGGED)),
      flags: flags.map(({ path, kind: what, count }) => `${path}: ${count} × ${what}`),
    });
    bus.emit({ type: 'catalog.item_flagged', at: clock.wallTime(), server, kind, item, flags });
  };

  /** Only a server in this process can hand over what throws while being read: its code is the host's own. */
  const flagsOf = (item: Json, budget: InspectionBudget): readonly DefinitionFlag[] => {
    try {
      return inspectDefinition(item, budget, (text) => redactor.text(text));
    } catch {
      return [];
    }
  };

  return {
    inspect(server, kind, items) {
      let findings = told.get(server);
      const seen = done.get(server) ?? new WeakSet<Json>();
      done.set(server, seen);
      const budget = inspectionBudget();
      for (let i = 0; i < items.length && (findings?.size ?? 0) < MAX_TOLD; i += 1) {
        const item = items[i] as Json;
        if (seen.has(item)) continue;
        const flags = flagsOf(item, budget);
        if (flags.at(-1)?.kind !== 'unchecked') seen.add(item);
        if (flags.length === 0) continue;
        if (findings === undefined) {
          findings = new Set();
          told.set(server, findings);
        }
        tell(server, kind, String(item[IDENTITY[kind]]), flags, findings);
        // Told of one; the others are as unchecked.
        if (flags.at(-1)?.kind === 'unchecked' && (budget.nodes <= 0 || budget.characters <= 0)) return;
      }
    },
    forget(server) {
      told.delete(server);
      done.delete(server);
    },
  };
}

import type { Catalog } from '../catalog/catalog.ts';
import type { ListKind } from '../core/events.ts';
import type { Principal } from '../core/request.ts';
import { askPolicy, isThenable, type Operation, type PolicyEngine } from '../security/policy-engine.ts';
import { isVisible } from '../security/policy-visibility.ts';

/** What a principal can know of. Only there where a policy is. */
export interface Sight {
  /** Whether the thing may be seen; a policy that answers later counts as yes here, and decides on the request itself. */
  visible(
    principal: Principal | undefined,
    kind: ListKind,
  ): (server: string, originalName: string) => boolean;
  /** Nothing of the server may be seen by this principal: it does not exist. A promise where the policy answers later. */
  hides(server: string, principal: Principal | undefined): boolean | Promise<boolean>;
  /** It is certain, without knowing what the server lists, that the principal may use nothing of it. Never throws. */
  rulesOut(server: string, principal: Principal | undefined): boolean;
  /** The policy is not the built-in one and may be slow: errors name nothing but what the caller said. */
  readonly vague: boolean;
}

const SUBJECTS: Readonly<Record<ListKind, readonly [Operation, 'tool' | 'resource' | 'prompt', string]>> = {
  tools: ['tools.list', 'tool', 'name'],
  resources: ['resources.list', 'resource', 'uri'],
  resourceTemplates: ['resources.list', 'resource', 'uriTemplate'],
  prompts: ['prompts.list', 'prompt', 'name'],
};

export function createSight(deps: {
  readonly engine: PolicyEngine;
  readonly catalog: (principal: Principal | undefined) => Catalog;
  /** Whether the policy is the built-in one now. */
  readonly builtIn: () => boolean;
}): Sight {
  const { engine } = deps;
  const seen = (
    principal: Principal | undefined,
    kind: ListKind,
    server: string,
    name: string,
  ): boolean | Promise<boolean> => {
    const [operation, subject] = SUBJECTS[kind];
    return isVisible(engine, { operation, principal, server, [subject]: name });
  };
  const hides = (server: string, principal: Principal | undefined): boolean | Promise<boolean> => {
    const later: Array<PromiseLike<boolean>> = [];
    const reached = askPolicy(engine, { operation: 'server.connect', principal, server });
    if (isThenable(reached)) later.push(reached.then(({ effect }) => effect === 'allow'));
    else if (reached.effect === 'allow') return false;
    const inventory = deps.catalog(principal).inventory(server);
    if (inventory !== undefined) {
      for (const kind of Object.keys(SUBJECTS) as ListKind[]) {
        for (const item of inventory[kind].items) {
          const visible = seen(principal, kind, server, String(item[SUBJECTS[kind][2]]));
          if (isThenable(visible)) later.push(visible);
          else if (visible) return false;
        }
      }
    }
    return later.length === 0 ? true : Promise.all(later).then((answers) => !answers.includes(true));
  };
  return {
    get vague() {
      return !deps.builtIn();
    },
    visible: (principal, kind) => (server, name) => {
      const answer = seen(principal, kind, server, name);
      return isThenable(answer) ? true : answer;
    },
    hides,
    rulesOut(server, principal) {
      try {
        return engine.rulesOut?.(server, principal) === true;
      } catch {
        // It has said nothing; what is listed is judged item by item.
        return false;
      }
    },
  };
}

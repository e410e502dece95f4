/**
 * A policy engine of your own: here Cedar decides who may do what, and mcp-troupe asks it before anything is sent. Any object
 * with `decide(query)` will do; one that asks OPA or a service over the network answers with a promise instead.
 *
 *   npx tsx examples/policy-engine.ts
 */
import * as cedar from '@cedar-policy/cedar-wasm/nodejs';
import {
  createEngine,
  isTroupeError,
  type Decision,
  type PolicyEngine,
  type PolicyQuery,
} from '../lib/index.ts';
import { buildDatabaseServer } from './servers/database.ts';

/** What may be used may be seen: Cedar is asked about calls only, lists follow from them. */
const POLICIES = {
  'staff-use-db': `permit (principal in Role::"staff", action == Action::"tools.call", resource in Server::"db");`,
  'nothing-is-deleted': `
    forbid (principal, action == Action::"tools.call", resource)
    when { context has sql && context.sql like "*DELETE*" };`,
};

/** Cedar's answer as ours. In Cedar a `forbid` that cannot be evaluated is skipped; here every error is a no. */
class CedarPolicy implements PolicyEngine {
  constructor(policies: Readonly<Record<string, string>>) {
    const parsed = cedar.checkParsePolicySet({ staticPolicies: policies });
    if (parsed.type === 'failure')
      throw new SyntaxError(`cedar: ${parsed.errors.map(({ message }) => message).join('; ')}`);
    cedar.preparsePolicySet('troupe', { staticPolicies: policies });
  }

  decide(query: PolicyQuery): Decision {
    const { principal, server, operation } = query;
    const who = { type: 'User', id: principal?.id ?? '@host' };
    const what = { type: 'Thing', id: query.tool ?? query.resource ?? query.prompt ?? '' };
    const answer = cedar.statefulIsAuthorized({
      principal: who,
      action: { type: 'Action', id: operation },
      resource: what,
      context: textsOf(query.arguments),
      preparsedPolicySetId: 'troupe',
      validateRequest: false,
      entities: [
        {
          uid: who,
          attrs: {},
          parents: (principal?.roles ?? []).map((id) => ({ type: 'Role', id })),
        },
        { uid: what, attrs: {}, parents: server === undefined ? [] : [{ type: 'Server', id: server }] },
      ],
    });
    if (answer.type === 'failure') throw new Error(answer.errors.map(({ message }) => message).join('; '));
    const { decision, diagnostics } = answer.response;
    const [error] = diagnostics.errors;
    if (error !== undefined) throw new Error(`policy ${error.policyId}: ${error.error.message}`);
    const [ruleId] = diagnostics.reason;
    return {
      effect: decision,
      // Where no policy says anything, that is said: such things are not forbidden, only not granted.
      ruleId: ruleId ?? 'default:deny',
      ruleSource: 'cedar',
      reason: ruleId === undefined ? 'no policy permits it' : `policy ${ruleId}`,
    };
  }
}

/** The context of a policy: the arguments that are texts. */
function textsOf(given: PolicyQuery['arguments']): Record<string, string> {
  const texts = Object.entries(given ?? {}).filter(([, value]) => typeof value === 'string');
  return Object.fromEntries(texts) as Record<string, string>;
}

const engine = createEngine({
  servers: { db: { server: () => buildDatabaseServer() } },
  policy: new CedarPolicy(POLICIES),
});

const clerk = { id: 'ada', roles: ['staff'] };
const guest = { id: 'eve' };

try {
  await engine.start();
  for (const principal of [clerk, guest]) {
    const { items } = await engine.listTools({ principal });
    console.log(`${principal.id} sees ${items.map(({ name }) => name).join(', ') || 'nothing'}`);
  }
  for (const [principal, sql] of [
    [clerk, 'SELECT name FROM planet WHERE moons = 1'],
    [clerk, 'DELETE FROM planet'],
    [guest, 'SELECT name FROM planet'],
  ] as const) {
    const answer = await engine
      .callTool('db__query', { sql }, { principal })
      .then((result) => JSON.stringify(result['structuredContent'] ?? result['content']))
      .catch((error: unknown) => (isTroupeError(error) ? error.message : String(error)));
    console.log(`${principal.id}: ${sql}\n  ${answer}`);
  }
  const why = await engine.explain({
    method: 'tools/call',
    params: { name: 'db__query', arguments: { sql: 'DELETE FROM planet' } },
    principal: clerk,
  });
  console.log(`why: ${why.effect} by ${why.ruleId} (${why.ruleSource})`);
} finally {
  await engine.stop();
}

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import type { EngineConfig, Host } from '../../lib/config/config.ts';
import type { TroupeError } from '../../lib/core/errors.ts';
import type { Json } from '../../lib/core/json-rpc.ts';
import type { HostOperation, PolicyEngine } from '../../lib/security/policy-engine.ts';
import type { PolicyRule } from '../../lib/security/policy-rule.ts';
import { engines, heard, hostHearsNothing, logged, stdio, textOf } from '../support/engines.ts';
import { temporaryDirectories } from '../support/temp-dir.ts';

hostHearsNothing();

const SCHEMA = { type: 'object', properties: { name: { type: 'string' } } };

interface Question {
  readonly operation: HostOperation;
  readonly method: string;
  readonly params: object | undefined;
  /** What the host says where it is asked, and what of it the server must have got. */
  readonly answered: string;
}

const QUESTIONS: Readonly<Record<string, Question>> = {
  'a form to fill in': {
    operation: 'elicitation',
    method: 'elicitation/create',
    params: { mode: 'form', message: 'who are you?', requestedSchema: SCHEMA },
    answered: 'Ada',
  },
  'a page to visit': {
    operation: 'elicitation',
    method: 'elicitation/create',
    params: { mode: 'url', message: 'sign here', url: 'https://sign.example/1', elicitationId: 'e1' },
    answered: 'accept',
  },
  'the roots': {
    operation: 'roots',
    method: 'roots/list',
    params: undefined,
    answered: 'file:///home/ada',
  },
  'a completion of a model': {
    operation: 'sampling',
    method: 'sampling/createMessage',
    params: { messages: [{ role: 'user', content: { type: 'text', text: 'sing' } }], maxTokens: 5 },
    answered: 'la la',
  },
};

/** Answers everything, and notes what it was asked. */
function hostOf(asked: string[]): Host {
  return {
    elicit: (params) => {
      asked.push('elicitation/create');
      return params['mode'] === 'url' ? { action: 'accept' } : { action: 'accept', content: { name: 'Ada' } };
    },
    roots: () => {
      asked.push('roots/list');
      return [{ uri: 'file:///home/ada', name: 'home' }];
    },
    sample: () => {
      asked.push('sampling/createMessage');
      return { role: 'assistant', model: 'm', content: { type: 'text', text: 'la la' } };
    },
  };
}

describe.each(['2025-11-25', '2026-07-28'])('what a process of %s asks of the host', (revision) => {
  const make = engines();
  const directory = temporaryDirectories();
  const modern = revision === '2026-07-28';

  /** An engine with one server process that may ask and one that `rules` are about. */
  function fleet(policy: NonNullable<EngineConfig['policy']>, more: Partial<EngineConfig> = {}) {
    const asked: string[] = [];
    const folder = directory();
    const log = { desk: join(folder, 'desk.log'), other: join(folder, 'other.log') };
    const audit = join(folder, 'audit.jsonl');
    const server = (path: string) => stdio('good', '', { SPEC_REVISION: revision, SPEC_LOG: path });
    const engine = make({
      servers: { desk: server(log.desk), other: server(log.other) },
      host: hostOf(asked),
      audit: { file: audit, key: 'a key of sixteen bytes or more' },
      policy,
      ...more,
    });
    const lines = (): Array<Record<string, unknown>> =>
      readFileSync(audit, 'utf8')
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    return { engine, asked, log, lines };
  }

  /** How the tool that asks ends: a text, or the error of the call. */
  const outcome = (call: Promise<Json>): Promise<string> =>
    textOf(call).catch((error: TroupeError) => `${error.code}: ${error.message}`);

  it.each(Object.entries(QUESTIONS))(
    '%s: a denying policy keeps it from the host, and the server is refused',
    async (_what, { operation, method, params, answered }) => {
      const rule: PolicyRule = {
        id: 'keep-out',
        effect: 'deny',
        operations: [operation],
        servers: ['desk'],
      };
      const { engine, asked, log, lines } = fleet([rule]);
      await engine.start();
      const told = heard(engine, 'server.asked');
      const question = { method, ...(params === undefined ? {} : { params }) };

      const refused = await outcome(engine.callTool('desk__ask', { question }));
      expect(refused).toContain(`the policy does not let it ask for ${method}`);
      expect(asked).toEqual([]);
      expect(told).toMatchObject([{ server: 'desk', method, ok: false, error: { code: 'denied' } }]);
      // A legacy server hears of it as the answer to its request; a modern one has its call ended, and no further round.
      if (modern) {
        expect(refused).toMatch(/^denied: /);
        expect(logged(log.desk, 'tools/call')).toBe(1);
      } else {
        expect(refused).toMatch(/^error /);
        expect(logged(log.desk, 'answer')).toBe(1);
      }
      expect(lines().filter(({ event }) => event === 'denied')).toMatchObject([
        { operation, server: 'desk', rule: 'keep-out' },
      ]);
      expect(lines().filter(({ event }) => event === 'server asks')).toEqual([]);

      // The refusal is of that server alone, and harms it no further.
      expect(await outcome(engine.callTool('other__ask', { question }))).toContain(answered);
      expect(asked).toEqual([method]);
      expect(lines().filter(({ event }) => event === 'server asks')).toMatchObject([
        { method, server: 'other' },
      ]);
      expect(await textOf(engine.callTool('desk__echo', { message: 'still here' }))).toBe('still here');
      expect(logged(log.desk, 'spawn')).toBe(1);
    },
  );

  it('reaches nobody where nothing is granted but by policy', async () => {
    const { engine, asked } = fleet([{ effect: 'allow', principals: ['@host'], tools: ['ask'] }], {
      secure: true,
      pinning: false,
    });
    await engine.start();
    await engine.listTools();
    for (const { method, params } of Object.values(QUESTIONS)) {
      const question = { method, ...(params === undefined ? {} : { params }) };
      expect(await outcome(engine.callTool('desk__ask', { question }))).toContain('does not let it ask');
    }
    expect(asked).toEqual([]);
  });

  it('is kept from the host also by a policy that fails', async () => {
    const failing: PolicyEngine = {
      decide({ operation }) {
        if (operation === 'elicitation') throw new Error('the database is away');
        if (operation === 'roots') return Promise.reject(new Error('the database is away'));
        return { effect: 'allow', ruleId: 'all', ruleSource: 'spec', reason: 'because' };
      },
    };
    const { engine, asked } = fleet(failing);
    await engine.start();
    for (const [what, { operation, method, params, answered }] of Object.entries(QUESTIONS)) {
      const question = { method, ...(params === undefined ? {} : { params }) };
      const expected = operation === 'sampling' ? answered : 'does not let it ask';
      expect([what, await outcome(engine.callTool('desk__ask', { question }))]).toEqual([
        what,
        expect.stringContaining(expected),
      ]);
    }
    expect(asked).toEqual(['sampling/createMessage']);
  });
});

import { describe, expect, it } from '@jest/globals';
import { TroupeError } from '../../lib/core/errors.ts';
import { policy } from '../../lib/security/policy-interceptor.ts';
import type { Denial, PolicyInterceptorOptions } from '../../lib/security/policy-interceptor.ts';
import type { Decision, PolicyEngine } from '../../lib/security/policy-engine.ts';
import type { PolicyRule } from '../../lib/security/policy-rule.ts';
import { createPolicy } from '../../lib/security/policy.ts';
import { requestOf, scriptedHandler } from '../support/requests.ts';

const unknownThing = (target: string | undefined): TroupeError =>
  new TroupeError('not_found', `no tool named "${target}"`);

function path(rules: readonly PolicyRule[] | PolicyEngine, more: Partial<PolicyInterceptorOptions> = {}) {
  const denials: Denial[] = [];
  const next = scriptedHandler({ content: ['done'] });
  const engine = 'decide' in rules ? rules : createPolicy(rules);
  const handle = policy({
    engine,
    notFound: ({ target }) => unknownThing(target),
    onDenied: (denial) => denials.push(denial),
    ...more,
  })(next);
  return { handle, next, denials };
}

describe('the policy on the path', () => {
  it('passes the very request that is allowed, without a frame of its own', async () => {
    const { handle, next, denials } = path([{ effect: 'allow' }]);
    const request = requestOf();
    expect(await handle(request)).toEqual({ content: ['done'] });
    expect(next.requests).toEqual([request]);
    expect(next.requests[0]).toBe(request);
    expect(denials).toEqual([]);
  });

  it('makes what is hidden look like what does not exist, and tells the trail why', async () => {
    const { handle, next, denials } = path([{ effect: 'allow', tools: ['other'] }]);
    const refused = await handle(requestOf()).catch((error: unknown) => error as TroupeError);
    expect(refused).toMatchObject({
      code: 'not_found',
      message: unknownThing('alpha__echo').message,
      delivery: 'unsent',
    });
    expect(JSON.stringify(refused)).toBe(JSON.stringify(unknownThing('alpha__echo')));
    expect(next.requests).toEqual([]);
    expect(denials).toMatchObject([
      {
        visible: false,
        query: { server: 'alpha', tool: 'echo' },
        decision: { ruleId: 'default:deny', reason: 'no rule allows it' },
      },
    ]);
  });

  it('says denied where the thing may be seen: the prompt, but no completion for it', async () => {
    const { handle, denials } = path([
      { effect: 'allow' },
      { id: 'ro', effect: 'deny', operations: ['completion'] },
    ]);
    const request = requestOf({
      method: 'completion/complete',
      target: 'alpha__greet',
      params: { ref: { type: 'ref/prompt', name: 'greet' }, argument: { name: 'who', value: '' } },
    });
    await expect(handle(request)).rejects.toMatchObject({
      code: 'denied',
      server: 'alpha',
      delivery: 'unsent',
      message: '[denied] alpha: not allowed: completion/complete alpha__greet',
      data: { reason: 'policy' },
    });
    expect(denials).toMatchObject([{ visible: true, decision: { ruleId: 'ro' } }]);
  });

  it('says denied where other arguments would be allowed', async () => {
    const { handle, next } = path([
      { effect: 'allow' },
      { effect: 'deny', tools: ['echo'], when: 'arguments.message == "hi"' },
    ]);
    await expect(handle(requestOf())).rejects.toMatchObject({ code: 'denied' });
    await handle(requestOf({ params: { name: 'echo', arguments: { message: 'ho' } } }));
    expect(next.requests).toHaveLength(1);
  });

  it('hides what may be listed by name, but not called', async () => {
    const { handle, denials } = path([
      { effect: 'allow' },
      { id: 'ro', effect: 'deny', operations: ['tools.call'] },
    ]);
    await expect(handle(requestOf())).rejects.toMatchObject({ code: 'not_found' });
    expect(denials).toMatchObject([{ visible: false, decision: { ruleId: 'ro' } }]);
  });

  it.each<[string, PolicyEngine]>([
    [
      'throws',
      {
        decide: () => {
          throw new Error('secret detail');
        },
      },
    ],
    ['rejects', { decide: () => Promise.reject(new Error('secret detail')) }],
  ])('refuses when the engine %s, and keeps the reason from the caller', async (_what, engine) => {
    const { handle, next, denials } = path(engine);
    const refused = await handle(requestOf()).catch((error: unknown) => error as TroupeError);
    expect(refused).toMatchObject({ code: 'not_found' });
    expect(JSON.stringify(refused)).not.toContain('secret detail');
    expect(denials[0]?.decision.reason).toBe('the policy engine failed: secret detail');
    expect(next.requests).toEqual([]);
  });

  it('waits for an engine that takes its time', async () => {
    const { handle, next } = path({
      decide: () => Promise.resolve({ effect: 'allow', ruleId: 'x', ruleSource: 'x', reason: 'x' }),
    });
    await handle(requestOf());
    expect(next.requests.length).toBe(1);
  });

  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['null', null],
    ['a text', 'allow'],
    ['true', true],
    ['another effect', { effect: 'permit', ruleId: 'x', ruleSource: 'x', reason: 'x' }],
    ['a promise of nonsense', Promise.resolve({ allow: true })],
  ])('refuses when the engine answers %s', async (_what, answer) => {
    const { handle, next, denials } = path({ decide: () => answer as never });
    await expect(handle(requestOf())).rejects.toMatchObject({ code: 'not_found', delivery: 'unsent' });
    expect(denials[0]?.decision.ruleId).toBe('default:engine-failed');
    expect(next.requests).toEqual([]);
  });

  it('ends with the request when the engine never answers, and lets nothing pass that it says later', async () => {
    let answer: (decision: Decision) => void = () => {};
    const { handle, next } = path({
      decide: () =>
        new Promise<Decision>((resolve) => {
          answer = resolve;
        }),
    });
    const request = requestOf();
    const refused = handle(request);
    const late = new TroupeError('deadline_exceeded', 'too late');
    request.cancellation.cancel(late);
    await expect(refused).rejects.toBe(late);
    answer({ effect: 'allow', ruleId: 'x', ruleSource: 'x', reason: 'x' });
    await new Promise((resolve) => void setImmediate(resolve));
    expect(next.requests).toEqual([]);
  });

  it('ends also a list over which the engine broods', async () => {
    const engine: PolicyEngine = {
      decide: ({ tool }) =>
        tool === undefined
          ? { effect: 'allow', ruleId: 'x', ruleSource: 'x', reason: 'x' }
          : new Promise<Decision>(() => {}),
    };
    const request = requestOf({ method: 'tools/list', params: {}, target: undefined });
    const refused = policy({ engine })(scriptedHandler({ tools: [{ name: 'echo' }] }))(request);
    await new Promise((resolve) => void setImmediate(resolve));
    request.cancellation.cancel(new TroupeError('deadline_exceeded', 'too late'));
    await expect(refused).rejects.toMatchObject({ code: 'deadline_exceeded' });
  });

  it('pins the request to the server it was decided for', async () => {
    const { handle, next } = path([{ effect: 'allow', servers: ['alpha'] }], {
      locate: () => ({ server: 'alpha', name: 'echo' }),
    });
    await handle(requestOf({ server: undefined }));
    expect(next.requests[0]?.server).toBe('alpha');
  });

  it('does not trouble the trail with names that nobody knows', async () => {
    const { handle, denials } = path([{ effect: 'allow', servers: ['alpha'] }], { locate: () => undefined });
    await expect(handle(requestOf({ server: undefined, target: 'typo' }))).rejects.toThrow(
      'no tool named "typo"',
    );
    expect(denials).toEqual([]);
  });

  it('rejects, and does not throw, when the lookup fails', async () => {
    const ambiguous = new TroupeError('ambiguous_name', 'two of them');
    const { handle, next } = path([{ effect: 'allow' }], {
      locate: () => {
        throw ambiguous;
      },
    });
    await expect(handle(requestOf())).rejects.toBe(ambiguous);
    expect(next.requests).toEqual([]);
  });

  it('refuses all the same when the listener throws', async () => {
    const { handle } = path([], {
      onDenied: () => {
        throw new Error('disk full');
      },
    });
    await expect(handle(requestOf())).rejects.toMatchObject({ code: 'not_found' });
  });

  it('has a text of its own where routing gave none', async () => {
    const handle = policy({ engine: createPolicy([]) })(scriptedHandler({}));
    await expect(handle(requestOf())).rejects.toThrow('[not_found] nothing is known as "alpha__echo"');
  });
});

describe('lists on the path', () => {
  const tools = { tools: [{ name: 'echo' }, { name: 'rm' }] };
  const listing = (rules: readonly PolicyRule[], server: string | undefined = 'alpha') => {
    const next = scriptedHandler(tools);
    const denials: Denial[] = [];
    const handle = policy({ engine: createPolicy(rules), onDenied: (denial) => denials.push(denial) })(next);
    return {
      answer: handle(requestOf({ method: 'tools/list', params: {}, target: undefined, server })),
      next,
      denials,
    };
  };

  it('lose what may not be seen', async () => {
    expect(await listing([{ effect: 'allow' }, { effect: 'deny', tools: ['rm'] }]).answer).toEqual({
      tools: [{ name: 'echo' }],
    });
    expect(await listing([{ effect: 'allow', tools: ['rm'] }]).answer).toEqual({ tools: [{ name: 'rm' }] });
  });

  it('of a forbidden server are not asked for', async () => {
    const { answer, next, denials } = listing([
      { effect: 'allow' },
      { id: 'no', effect: 'deny', servers: ['alpha'] },
    ]);
    await expect(answer).rejects.toMatchObject({ code: 'not_found' });
    expect(next.requests).toEqual([]);
    expect(denials).toMatchObject([{ decision: { ruleId: 'no' } }]);
  });

  it('of a server of which nothing may be seen look like no server', async () => {
    await expect(listing([{ effect: 'allow', servers: ['beta'] }]).answer).rejects.toMatchObject({
      code: 'not_found',
    });
  });

  it('over all servers are filtered only', async () => {
    const engine = createPolicy([{ effect: 'allow', servers: ['alpha'] }]);
    const all = [
      { name: 'a', server: 'alpha', originalName: 'x' },
      { name: 'b', server: 'beta', originalName: 'x' },
    ];
    const handle = policy({ engine })(scriptedHandler({ tools: all }));
    expect(await handle(requestOf({ method: 'tools/list', server: undefined, target: undefined }))).toEqual({
      tools: [all[0]],
    });
  });
});

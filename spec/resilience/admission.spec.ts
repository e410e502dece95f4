import { describe, expect, it } from '@jest/globals';
import type { Handler } from '../../lib/core/interceptor.ts';
import type { Request } from '../../lib/core/request.ts';
import { type AdmissionPolicy, admission } from '../../lib/resilience/admission.ts';
import { heldHandler, readOf, requestOf } from '../support/requests.ts';
import { createVirtualClock } from '../support/virtual-clock.ts';

const OPEN: AdmissionPolicy = { maxQueue: 0, perTenant: Infinity, perTool: Infinity };
const by = (tenant: string, target = 'alpha__echo'): Request =>
  requestOf({ principal: { id: `user of ${tenant}`, tenant }, target });

function admitted(policy: AdmissionPolicy | undefined, below: Handler): Handler {
  return admission({ clock: createVirtualClock(), policy: () => policy })(below);
}

describe('admission', () => {
  it('is no layer where nothing is limited', () => {
    const answer = Promise.resolve({});
    expect(admitted(undefined, () => answer)(requestOf())).toBe(answer);
    expect(admitted(OPEN, () => answer)(by('acme'))).toBe(answer);
  });

  it('one tenant cannot take the slots of another', async () => {
    const below = heldHandler();
    const handler = admitted({ ...OPEN, perTenant: 2 }, below);
    for (let i = 0; i < 2; i++) void handler(by('acme'));
    await expect(handler(by('acme'))).rejects.toMatchObject({
      code: 'queue_full',
      message: '[queue_full] alpha: tenant acme has 2 of 2 slots taken and 0 requests waiting',
    });
    void handler(by('globex'));
    // Without a principal there is no tenant to count.
    for (let i = 0; i < 5; i++) void handler(requestOf());
    await Promise.resolve();
    expect(below.calls).toHaveLength(8);
  });

  it('one tool cannot take the slots of another, and reads are no tool', async () => {
    const below = heldHandler();
    const handler = admitted({ ...OPEN, perTool: 1 }, below);
    void handler(by('acme', 'alpha__slow'));
    await expect(handler(by('acme', 'alpha__slow'))).rejects.toMatchObject({ code: 'queue_full' });
    void handler(by('acme', 'alpha__fast'));
    for (let i = 0; i < 3; i++) void handler(readOf('file:///a'));
    await Promise.resolve();
    expect(below.calls).toHaveLength(5);
  });

  it('counts per server', async () => {
    const below = heldHandler();
    const handler = admitted({ ...OPEN, perServer: 1 }, below);
    void handler(requestOf());
    await expect(handler(readOf('file:///a'))).rejects.toMatchObject({ code: 'queue_full' });
    void handler(requestOf({ server: 'beta' }));
    await Promise.resolve();
    expect(below.calls).toHaveLength(2);
  });

  it('tenant, tool and server hold together: what is refused inside gives back what it had outside', async () => {
    const below = heldHandler();
    const handler = admitted({ maxQueue: 1, perTenant: 4, perTool: 2, perServer: 1 }, below);
    const outcomes = Array.from({ length: 6 }, () =>
      handler(by('acme')).then(
        () => 'ok',
        (e: Error) => e.message,
      ),
    );
    await new Promise(setImmediate);
    // One runs, one waits for the server, one for the tool, the fourth is refused and lets the fifth in and out.
    expect(below.calls).toHaveLength(1);
    for (let i = 0; i < 4; i++) {
      below.calls[i]?.reply();
      await new Promise(setImmediate);
    }
    const settled = await Promise.all(outcomes);
    expect(settled.filter((outcome) => outcome === 'ok')).toHaveLength(below.calls.length);
    // Everything was given back: the same works again.
    const again = handler(by('acme'));
    await new Promise(setImmediate);
    below.calls.at(-1)?.reply({ again: true });
    await expect(again).resolves.toEqual({ again: true });
  });

  it('lets go of tenants that have gone, never of one that is being served', async () => {
    const below = heldHandler();
    const handler = admitted({ ...OPEN, perTenant: 1 }, below);
    void handler(by('busy'));
    for (let i = 0; i < 1_500; i++) {
      const outcome = handler(by(`tenant ${i}`));
      below.calls.at(-1)?.reply();
      await outcome;
    }
    await expect(handler(by('busy'))).rejects.toMatchObject({ code: 'queue_full' });
  });
});

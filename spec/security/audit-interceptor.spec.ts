import { readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import type { Interceptor } from '../../lib/core/interceptor.ts';
import { amend } from '../../lib/core/request.ts';
import { auditLayers } from '../../lib/security/audit-interceptor.ts';
import { createAuditTrail } from '../../lib/security/audit.ts';
import type { AuditOptions } from '../../lib/security/audit.ts';
import { failure, heldHandler, readOf, requestOf, scriptedHandler } from '../support/requests.ts';
import { temporaryDirectories } from '../support/temp-dir.ts';
import { createVirtualClock } from '../support/virtual-clock.ts';

const directory = temporaryDirectories();

function audited(more: Partial<AuditOptions> = {}) {
  const path = join(directory(), 'audit.jsonl');
  const clock = createVirtualClock();
  const trail = createAuditTrail({ path, key: 'a key of sixteen bytes or more', ...more });
  const records = (): Array<Record<string, unknown>> =>
    readFileSync(path, 'utf8')
      .trimEnd()
      .split('\n')
      .slice(1)
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const layers = auditLayers({ trail, clock });
  const layer: Interceptor = (next) => layers.whole(layers.before(next));
  return { layer, layers, trail, records, clock };
}

describe('the audit on the path', () => {
  it('writes before the effect and after it, and no argument ever', async () => {
    const { layer, records, clock, trail } = audited();
    const next = heldHandler();
    const request = requestOf({
      seq: 7,
      principal: { id: 'alice', tenant: 'acme' },
      params: { name: 'echo', arguments: { message: 'hunter2hunter2' } },
    });
    const answer = layer(next)(request);
    expect(records()).toMatchObject([
      {
        kind: 'intent',
        request: 7,
        method: 'tools/call',
        server: 'alpha',
        target: 'alpha__echo',
        principal: 'alice',
        tenant: 'acme',
        arguments: { shape: '{message:string}', hmac: expect.stringMatching(/^[0-9a-f]{64}$/) },
      },
    ]);
    await clock.advance(250);
    next.calls[0]!.reply({ content: ['x'], isError: true });
    expect(await answer).toEqual({ content: ['x'], isError: true });
    expect(records()[1]).toMatchObject({
      kind: 'outcome',
      request: 7,
      ok: true,
      isError: true,
      attempts: 1,
      elapsedMs: 250,
    });
    expect(JSON.stringify(records())).not.toContain('hunter2');
    trail.close();
  });

  it('records refusals and failures by their code', async () => {
    const { layer, records, trail } = audited();
    const handle = layer(
      scriptedHandler(
        failure('denied'),
        failure('outcome_unknown', { delivery: 'sent' }),
        new TypeError('x'),
      ),
    );
    for (let i = 0; i < 3; i++) await handle(requestOf()).catch(() => {});
    expect(records().filter(({ kind }) => kind === 'outcome')).toMatchObject([
      { ok: false, code: 'denied', delivery: 'unsent', server: 'alpha' },
      { ok: false, code: 'outcome_unknown', delivery: 'sent' },
      { ok: false, code: 'internal' },
    ]);
    trail.close();
  });

  it('throws what was thrown', async () => {
    const { layer, trail } = audited();
    const thrown = failure('unavailable');
    await expect(layer(scriptedHandler(thrown))(requestOf())).rejects.toBe(thrown);
    trail.close();
  });

  it('does not make a request that cannot be recorded', async () => {
    const { layer, trail } = audited();
    const next = scriptedHandler({});
    trail.close();
    await expect(layer(next)(requestOf())).rejects.toMatchObject({
      code: 'denied',
      delivery: 'unsent',
      data: { reason: 'audit_failed' },
    });
    expect(next.requests).toEqual([]);
  });

  it('makes it where that was chosen', async () => {
    const { layer, trail } = audited({ onFailure: 'continue' });
    trail.close();
    expect(await layer(scriptedHandler({ ok: 1 }))(requestOf())).toEqual({ ok: 1 });
  });

  it('gives the answer even when its record fails, and refuses what comes next', async () => {
    const lost: string[] = [];
    const { layer, trail } = audited({ onError: (error) => lost.push(error.code) });
    const next = heldHandler();
    const answer = layer(next)(requestOf());
    trail.close();
    next.calls[0]!.reply({ ok: 1 });
    expect(await answer).toEqual({ ok: 1 });
    expect(lost).toEqual(['denied']);
    await expect(layer(next)(requestOf())).rejects.toMatchObject({ code: 'denied' });
  });

  it('has one intent and one outcome of what never came to a server', async () => {
    const { layers, records, trail } = audited();
    const handle = layers.whole(scriptedHandler(failure('not_found')));
    await expect(handle(requestOf({ server: undefined, target: 'typo' }))).rejects.toMatchObject({
      code: 'not_found',
    });
    expect(records()).toMatchObject([
      { kind: 'intent', target: 'typo' },
      { kind: 'outcome', ok: false, code: 'not_found', delivery: 'unsent' },
    ]);
    expect(records()[0]).not.toHaveProperty('server');
    trail.close();
  });

  it('has one pair also of what is asked of a second server', async () => {
    const { layers, records, trail } = audited();
    const next = scriptedHandler(failure('not_found'), { contents: [] });
    const inner = layers.before(next);
    const handle = layers.whole((request) =>
      inner(request).catch(() => inner(amend(request, { server: 'beta' }))),
    );
    await handle(readOf('x://y'));
    expect(records().map(({ kind, server, event }) => [kind, server, event])).toEqual([
      ['intent', 'alpha', undefined],
      ['event', 'beta', 'asked again'],
      ['outcome', undefined, undefined],
    ]);
    trail.close();
  });

  it('lets nothing pass that comes after the outcome', async () => {
    const { layers, records, trail } = audited();
    const next = scriptedHandler({});
    const inner = layers.before(next);
    const late = failure('deadline_exceeded');
    const request = requestOf();
    await expect(layers.whole(() => Promise.reject(late))(request)).rejects.toBe(late);
    await expect(inner(request)).rejects.toMatchObject({ code: 'cancelled', delivery: 'unsent' });
    expect(next.requests).toEqual([]);
    expect(records()).toHaveLength(2);
    trail.close();
  });

  it('tells nothing more of an operation whose intent could not be written', async () => {
    let full = false;
    const { layer, records, trail } = audited({
      write: (fd, bytes, offset, length) => {
        if (!full) return writeSync(fd, bytes, offset, length);
        throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
      },
      onFailure: 'refuse',
    });
    full = true;
    await expect(layer(scriptedHandler({}))(requestOf())).rejects.toMatchObject({ code: 'denied' });
    full = false;
    await layer(scriptedHandler({}))(requestOf());
    expect(records().map(({ kind, event, lost }) => [kind, event, lost])).toEqual([
      ['event', 'audit.gap', 1],
      ['intent', undefined, undefined],
      ['outcome', undefined, undefined],
    ]);
    trail.close();
  });
});

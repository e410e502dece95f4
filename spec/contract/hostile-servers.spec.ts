import { describe, expect, jest } from '@jest/globals';
import { MAX_ERROR_TEXT } from '../../lib/core/errors.ts';
import type { Json } from '../../lib/core/json-rpc.ts';
import { failureOf, heard, hostHearsNothing, pause, textOf, timeOf, until } from '../support/engines.ts';
import { hostileRows } from '../support/hostile/bench.ts';

jest.setTimeout(60_000);
hostHearsNothing();
const row = hostileRows();
/** A call that should end at once would wait this long otherwise, milliseconds. */
const PATIENCE_MS = 30_000;

describe('messages of a hostile server', () => {
  row('2.1-01', {}, async ({ act, oddities, stillThere }) => {
    expect(await textOf(act('garbage'))).toBe('after all');
    await until(() => oddities.length > 0, 'a report');
    for (const { error } of oddities) expect(error.message).not.toContain('\u001b');
    await stillThere();
  });

  row('2.1-03', {}, async ({ act, oddities, stillThere }) => {
    expect(await textOf(act('duplicate'))).toBe('first');
    await stillThere();
    expect(JSON.stringify(oddities.map(({ error }) => error.message))).not.toContain('BODY-MARK');
  });

  row('2.1-04', {}, async ({ act, oddities, stillThere }) => {
    const answers = await Promise.all([textOf(act('foreign')), textOf(act('foreign'))]);
    expect(answers).toEqual(['mine', 'mine']);
    await stillThere();
    expect(JSON.stringify(oddities.map(({ error }) => error.message))).not.toContain('BODY-MARK');
  });

  row(
    '2.1-05',
    { mode: 'string-id', server: { startTimeoutMs: 300, restart: { baseMs: 60_000, capMs: 60_000 } } },
    async ({ engine }) => {
      const { error, state } = engine.fleet.connections.find(({ id }) => id === 'bad') ?? {};
      expect(state).toBe('Error');
      expect(['deadline_exceeded', 'invalid_response', 'protocol_error']).toContain(error?.code);
    },
  );

  row('2.1-06', {}, async ({ act, stillThere }) => {
    for (const fault of ['wrong-version', 'no-version', 'result-and-error', 'neither', 'error-text']) {
      const error = await failureOf(act(fault, {}, { timeoutMs: PATIENCE_MS }));
      expect(error).toMatchObject({ server: 'bad', delivery: 'answered' });
      expect(['invalid_response', 'protocol_error']).toContain(error.code);
    }
    await stillThere();
  });

  row('2.1-07', {}, async ({ act, stillThere }) => {
    const error = await failureOf(act('result-text', {}, { timeoutMs: PATIENCE_MS }));
    expect(error).toMatchObject({ code: 'invalid_response', server: 'bad', delivery: 'answered' });
    await stillThere();
  });

  row('2.1-08', {}, async ({ act }) => {
    expect(await act('no-content')).toEqual({ vendor: 1 });
  });

  row('2.1-09', {}, async ({ act, engine, oddities, stillThere }) => {
    const error = await failureOf(act('late', { ms: 250 }, { timeoutMs: 100 }));
    expect(error).toMatchObject({ code: 'deadline_exceeded', delivery: 'sent', server: 'bad' });
    await pause(300);
    await stillThere();
    expect(JSON.stringify([oddities.map(({ error: e }) => e.message), engine.inspect()])).not.toContain(
      'BODY-MARK',
    );
  });

  row(
    '2.1-10',
    { mode: 'silent', server: { startTimeoutMs: 300, restart: { baseMs: 60_000, capMs: 60_000 } } },
    async ({ engine }) => {
      const { error, state } = engine.fleet.connections.find(({ id }) => id === 'bad') ?? {};
      expect(state).toBe('Error');
      expect(error).toMatchObject({ code: 'deadline_exceeded', server: 'bad' });
      const { failures } = await engine.listTools();
      expect(failures).toMatchObject([{ server: 'bad', code: 'deadline_exceeded' }]);
    },
  );

  row('2.1-11', { ms: 15_000 }, async ({ act, stillThere }) => {
    const elapsed = await timeOf(async () => {
      const error = await failureOf(act('cut', {}, { timeoutMs: PATIENCE_MS }));
      expect(error).toMatchObject({ code: 'outcome_unknown', delivery: 'sent', server: 'bad' });
    });
    expect(elapsed).toBeLessThan(3_000);
    await until(async () => {
      try {
        await stillThere();
        return true;
      } catch {
        return false;
      }
    }, 'the connection');
  });

  row('2.1-13', { memoryMb: 120 }, async ({ act }) => {
    expect((await textOf(act('big', { bytes: 5_000_000 }))).length).toBe(5_000_000);
  });

  row('2.1-14', { ms: 15_000, memoryMb: 200, lagMs: 500 }, async ({ transport, act, stillThere }) => {
    const error = await failureOf(act('big', { bytes: 20_000_000 }, { timeoutMs: PATIENCE_MS }));
    expect(error.server).toBe('bad');
    // WebSocket and HTTP+SSE have one stream for all: what cannot be read on it is its end.
    if (transport === 'stdio' || transport === 'streamable-http')
      expect(error).toMatchObject({ code: 'limit_exceeded' });
    else expect(error).toMatchObject({ code: 'outcome_unknown' });
    await until(
      () =>
        stillThere().then(
          () => true,
          () => false,
        ),
      'the connection',
    );
  });

  row('2.1-16', { ms: 15_000, memoryMb: 150, lagMs: 500 }, async ({ act, engine }) => {
    const error = await failureOf(act('endless', { bytes: 60_000_000 }, { timeoutMs: 3_000 }));
    expect(error.server).toBe('bad');
    expect(['deadline_exceeded', 'limit_exceeded', 'outcome_unknown']).toContain(error.code);
    expect(engine.fleet.connections).toHaveLength(2);
  });

  row('2.1-17', {}, async ({ act, stillThere }) => {
    for (const levels of [101, 100_000]) {
      const error = await failureOf(act('deep', { levels }, { timeoutMs: PATIENCE_MS }));
      expect(error.server).toBe('bad');
      expect(error).toMatchObject({ code: 'limit_exceeded', delivery: 'answered' });
    }
    expect(await act('deep', { levels: 50 })).toHaveProperty('deep');
    await stillThere();
  });

  row('2.1-18', {}, async ({ act, stillThere }) => {
    await act('pollution').catch(() => {});
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
    await stillThere();
  });

  row('2.1-19', { memoryMb: 150, lagMs: 800 }, async ({ act, stillThere }) => {
    const error = await failureOf(act('error-flood', { length: 5_000_000 }, { timeoutMs: PATIENCE_MS }));
    expect(error).toMatchObject({ code: 'protocol_error', delivery: 'answered', server: 'bad' });
    expectOneLine(error.message);
    expect(JSON.stringify(error.data ?? '').length).toBeLessThan(17_000);
    await stillThere();
  });

  row('2.1-25', {}, async ({ act, stillThere }) => {
    let seen = 0;
    const elapsed = await timeOf(async () => {
      const error = await failureOf(
        act('progress-forever', {}, { timeoutMs: 300, onProgress: () => (seen += 1) }),
      );
      expect(error).toMatchObject({ code: 'deadline_exceeded', server: 'bad' });
    });
    expect(seen).toBeGreaterThan(0);
    expect(elapsed).toBeLessThan(2_000);
    await stillThere();
  });

  row('2.1-26', {}, async ({ act }) => {
    const seen: number[] = [];
    await act('progress-together', {}, { onProgress: ({ progress }) => seen.push(progress) });
    expect(seen).toEqual([1, 2, 3, 4, 5]);
  });

  row('3-05', {}, async ({ act }) => {
    const result = { content: [{ type: 'text', text: 'http://127.0.0.1:1/fetch-me' }] };
    expect(await act('echo', { value: 'http://127.0.0.1:1/fetch-me' })).toEqual(result);
  });

  row('3-30', {}, async ({ act }) => {
    const error = await failureOf(act('error-flood', { length: 50_000 }));
    expect(error.message.length).toBeLessThan(MAX_ERROR_TEXT + 200);
    expect(JSON.stringify(error.data ?? '').length).toBeLessThan(17_000);
  });

  row('3-31', {}, async ({ transport, act, stillThere }) => {
    const error = await failureOf(act('bad-utf8', {}, { timeoutMs: PATIENCE_MS }));
    expect(error.server).toBe('bad');
    expect(['invalid_response', 'outcome_unknown']).toContain(error.code);
    if (transport === 'websocket')
      await until(() =>
        stillThere().then(
          () => true,
          () => false,
        ),
      );
    expect(await textOf(act('surrogate'))).toBe('\ud800 \u0000');
    await stillThere();
  });

  row('3-33', {}, async ({ act }) => {
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        textOf(i % 3 === 0 ? act('foreign') : act('echo', { value: `mine ${i}` })),
      ),
    );
    expect(answers).toEqual(Array.from({ length: 100 }, (_, i) => (i % 3 === 0 ? 'mine' : `mine ${i}`)));
  });

  row('3-34', {}, async ({ act }) => {
    const elapsed = await timeOf(async () => {
      await Promise.all(
        ['neither', 'no-version', 'result-text'].map((fault) =>
          failureOf(act(fault, {}, { timeoutMs: PATIENCE_MS })),
        ),
      );
    });
    expect(elapsed).toBeLessThan(2_000);
  });

  row('3-37', {}, async ({ act, engine }) => {
    const settled = heard(engine, 'request.settled');
    await failureOf(act('error-flood', { length: 100 }));
    for (const { error } of settled) expectOneLine(error?.message ?? '');
    expect(settled.length).toBeGreaterThan(0);
  });

  row('2.4-08', {}, async ({ act, stillThere }) => {
    const elapsed = await timeOf(async () => {
      const error = await failureOf(act('cut', {}, { timeoutMs: PATIENCE_MS }));
      expect(error).toMatchObject({ code: 'outcome_unknown', delivery: 'sent', server: 'bad' });
    });
    expect(elapsed).toBeLessThan(2_000);
    await stillThere();
  });

  row('3-22', {}, async ({ act }) => {
    expect(await failureOf(act('leave', {}, { timeoutMs: PATIENCE_MS }))).toMatchObject({
      code: 'outcome_unknown',
      delivery: 'sent',
      server: 'bad',
    });
  });

  row(
    '3-19',
    { ms: 15_000, server: { limits: { messageBytes: 1_000_000 } } },
    async ({ act, stillThere }) => {
      const error = await failureOf(act('big', { bytes: 2_000_000 }, { timeoutMs: PATIENCE_MS }));
      expect(error.server).toBe('bad');
      expect(['limit_exceeded', 'outcome_unknown']).toContain(error.code);
      await until(
        () =>
          stillThere().then(
            () => true,
            () => false,
          ),
        'the connection',
      );
    },
  );

  row('3-41', {}, async ({ act, engine, stillThere }) => {
    const seen: number[] = [];
    const other = engine.callTool(
      'bad__act',
      { fault: 'late', ms: 50 },
      {
        onProgress: ({ progress }) => seen.push(progress),
      },
    );
    await act('progress-spoofed');
    await other;
    await stillThere();
    // A token of another request of the same server is that server's own to lie with; it puts no deadline off.
    expect(seen.length).toBeLessThanOrEqual(1);
  });
});

describe('lists of a hostile server', () => {
  const originals = (items: ReadonlyArray<{ originalName: string; server: string }>): string[] =>
    items.filter(({ server }) => server === 'bad').map(({ originalName }) => originalName);

  row('2.1-20', { mode: 'bad-schema' }, async ({ engine }) => {
    const skipped = heard(engine, 'catalog.item_skipped');
    const { items, failures } = await engine.listTools({ cache: 'refresh' });
    expect(originals(items)).toEqual(expect.arrayContaining(['act', 'last']));
    expect(originals(items)).not.toContain('broken');
    expect(failures).toEqual([]);
    expect(skipped.length).toBeGreaterThan(0);
  });

  row('2.1-21', { mode: 'doubles' }, async ({ engine, stillThere }) => {
    const { items } = await engine.listTools({ cache: 'refresh' });
    expect(originals(items)).toEqual(['act', 'last']);
    await stillThere();
  });

  row('2.3-01', { mode: 'many', memoryMb: 150, lagMs: 800 }, async ({ engine }) => {
    const { items, failures } = await engine.listTools({ cache: 'refresh' });
    expect(failures).toEqual([]);
    expect(originals(items)).toHaveLength(10_000);
  });

  row('2.1-22', { mode: 'endless-pages' }, async ({ engine }) => {
    const { items, failures } = await engine.listTools({ timeoutMs: 4_000 });
    expect(originals(items).length).toBeGreaterThanOrEqual(64);
    expect(failures).toMatchObject([{ server: 'bad', code: 'limit_exceeded' }]);
  });

  row('2.1-23', { mode: 'slow-pages' }, async ({ engine }) => {
    const elapsed = await timeOf(async () => {
      const { failures } = await engine.listTools({ timeoutMs: 700, servers: ['bad'] });
      expect(failures).toMatchObject([{ server: 'bad', code: 'deadline_exceeded' }]);
    });
    expect(elapsed).toBeLessThan(2_500);
  });

  row('2.1-24', { mode: 'many-tools', ms: 15_000, memoryMb: 400, lagMs: 2_000 }, async ({ engine }) => {
    const { items, failures } = await engine.listTools({ timeoutMs: 14_000 });
    expect(failures).toMatchObject([{ server: 'bad', code: 'limit_exceeded' }]);
    expect(originals(items).length).toBeLessThanOrEqual(10_000);
  });

  row(
    '3-24',
    { mode: 'endless-pages', server: { limits: { listPages: 3, listItems: 2 } } },
    async ({ engine }) => {
      const { items, failures } = await engine.listTools({ timeoutMs: 4_000 });
      expect(originals(items).length).toBeLessThanOrEqual(3);
      expect(failures).toMatchObject([{ server: 'bad', code: 'limit_exceeded' }]);
    },
  );

  row('3-35', { mode: 'names' }, async ({ engine }) => {
    const { items } = await engine.listTools({ cache: 'refresh' });
    expect(originals(items)).toEqual(['act', '__proto__', 'constructor', 'toString', 'hasOwnProperty']);
    for (const { name, server } of items) {
      if (server !== 'bad') continue;
      expect(await engine.callTool(name, {})).toHaveProperty('content');
    }
  });
});

describe('schemas of a hostile server', () => {
  const structured = (value: unknown): Json => ({ value });
  const call = (engine: { callTool: (name: string, args: Json) => Promise<Json> }, value: unknown) =>
    engine.callTool('bad__structured', structured(value));

  row('2.3-03', { mode: 'items' }, async ({ engine }) => {
    // Nobody has listed: the first call finds the tool and its schema by itself.
    expect(await failureOf(call(engine, { x: [1] }))).toMatchObject({ code: 'invalid_response' });
    expect(await call(engine, { x: ['a'] })).toHaveProperty('structuredContent');
  });

  row('2.3-04', { mode: 'redos', lagMs: 100 }, async ({ engine }) => {
    expect(await failureOf(call(engine, { x: `${'a'.repeat(40)}!` }))).toMatchObject({
      code: 'invalid_response',
      server: 'bad',
    });
  });

  row('2.3-05', { mode: 'doubling', lagMs: 150 }, async ({ engine, stillThere }) => {
    await call(engine, { x: 1 }).catch(() => {});
    await stillThere();
  });

  row('2.3-06', { mode: 'remote-ref' }, async ({ engine, stillThere }) => {
    await call(engine, { x: 1 }).catch(() => {});
    await stillThere();
  });

  row('2.3-09', { mode: 'items', memoryMb: 150, lagMs: 500 }, async ({ engine }) => {
    const error = await failureOf(call(engine, { x: Array.from({ length: 100_000 }, (_, i) => i) }));
    expect(error).toMatchObject({ code: 'invalid_response', server: 'bad' });
    expect(error.message.length).toBeLessThan(MAX_ERROR_TEXT);
  });

  row('2.3-10', { mode: 'format' }, async ({ engine }) => {
    const prints = (['log', 'info', 'warn', 'error', 'debug'] as const).map((level) =>
      jest.spyOn(console, level).mockImplementation(() => {}),
    );
    await call(engine, { x: 'y' }).catch(() => {});
    for (const print of prints) expect(print).not.toHaveBeenCalled();
  });
});

describe('bodies of a hostile server', () => {
  const tooLarge =
    (fault: string) =>
    async ({ act, stillThere }: Parameters<Parameters<typeof row>[2]>[0]): Promise<void> => {
      expect(await failureOf(act(fault, {}, { timeoutMs: PATIENCE_MS }))).toMatchObject({
        code: 'limit_exceeded',
        delivery: 'answered',
        server: 'bad',
      });
      await stillThere();
    };
  // The limit is 16 MB; what is read of it until then is kept.
  row('2.4-04', { ms: 15_000, memoryMb: 80 }, tooLarge('json-huge'));
  row('2.4-05', { ms: 15_000, memoryMb: 80 }, tooLarge('bomb'));
  row('3-20', { ms: 15_000, server: { limits: { messageBytes: 2_000_000 } } }, tooLarge('bomb'));

  row('2.4-07', { ms: 15_000 }, async ({ act, stillThere }) => {
    const error = await failureOf(act('refusal', {}, { timeoutMs: PATIENCE_MS }));
    expect(error).toMatchObject({ server: 'bad' });
    expectOneLine(error.message);
    await stillThere();
  });
});

describe('floods of a hostile server', () => {
  row('2.2-01', { ms: 15_000, memoryMb: 100, lagMs: 600 }, async ({ act, engine, stillThere }) => {
    const logged = heard(engine, 'server.notified');
    await act('notifications', { times: 20_000 }, { timeoutMs: PATIENCE_MS });
    expect(logged.length).toBeGreaterThan(0);
    await stillThere();
  });

  row('3-25', { ms: 15_000, memoryMb: 100, lagMs: 600 }, async ({ transport, act, engine }) => {
    const notified = heard(engine, 'server.notified');
    await act('notifications', { times: 5_000 }, { timeoutMs: PATIENCE_MS });
    // In this process nobody limits: the code is the host's own.
    if (transport === 'in-process') expect(notified.length).toBe(5_000);
    else expect(notified.length).toBeLessThan(4_000);
    expect(notified.length).toBeGreaterThan(500);
  });

  row('2.2-02', { ms: 15_000, memoryMb: 100, lagMs: 600 }, async ({ act, engine, stillThere }) => {
    await engine.listTools({ servers: ['bad'] });
    await act('changes', { times: 5_000 }, { timeoutMs: PATIENCE_MS });
    await stillThere();
    const lists = Number(await textOf(engine.callTool('bad__stats')));
    expect(lists).toBeLessThan(50);
  });

  row('2.2-03', { ms: 15_000, memoryMb: 100, lagMs: 1_000 }, async ({ act, stillThere }) => {
    await act('pings', { times: 5_000 }, { timeoutMs: PATIENCE_MS }).catch(() => {});
    await until(() =>
      stillThere().then(
        () => true,
        () => false,
      ),
    );
  });

  row(
    '2.2-05',
    { ms: 15_000, memoryMb: 100, lagMs: 1_000, server: { maxInFlight: 1_000 } },
    async ({ act }) => {
      const answers = await Promise.all(
        Array.from({ length: 1_000 }, (_, i) =>
          textOf(act('echo', { value: String(i) }, { timeoutMs: PATIENCE_MS })),
        ),
      );
      expect(answers).toEqual(Array.from({ length: 1_000 }, (_, i) => String(i)));
    },
  );

  row('2.2-06', {}, async ({ act }) => {
    const { signal } = new AbortController();
    const add = jest.spyOn(signal, 'addEventListener');
    const remove = jest.spyOn(signal, 'removeEventListener');
    await Promise.all(Array.from({ length: 200 }, () => act('echo', { value: 'x' }, { signal })));
    expect(remove.mock.calls.length).toBe(add.mock.calls.length);
  });

  const sampling = { running: 0, most: 0, asked: 0 };
  const host = {
    sample: async (): Promise<Json> => {
      sampling.asked += 1;
      sampling.running += 1;
      sampling.most = Math.max(sampling.most, sampling.running);
      await pause(20);
      sampling.running -= 1;
      return { role: 'assistant', model: 'm', content: { type: 'text', text: 'x' } };
    },
  };
  const asks = async ({ act, stillThere }: Parameters<Parameters<typeof row>[2]>[0]): Promise<void> => {
    Object.assign(sampling, { running: 0, most: 0, asked: 0 });
    await act('asks', { times: 1_000 }, { timeoutMs: PATIENCE_MS }).catch(() => {});
    await until(() =>
      stillThere().then(
        () => true,
        () => false,
      ),
    );
    await until(() => sampling.running === 0);
    expect(sampling.asked).toBeGreaterThan(0);
    expect(sampling.most).toBeLessThanOrEqual(4);
    expect(sampling.asked).toBeLessThanOrEqual(30);
  };
  row('2.2-07', { ms: 15_000, memoryMb: 100, lagMs: 1_000, config: { host } }, asks);
  row('3-26', { ms: 15_000, memoryMb: 100, lagMs: 1_000, config: { host } }, asks);
});

function expectOneLine(message: string): void {
  expect(message.length).toBeLessThan(MAX_ERROR_TEXT + 200);
  // eslint-disable-next-line no-control-regex -- control characters are what this looks for
  expect(message).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/);
}

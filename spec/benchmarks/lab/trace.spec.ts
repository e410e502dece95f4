import { describe, expect, it } from '@jest/globals';
import { formatTrace, parseTrace, recordTrace } from '../../../benchmarks/lab/trace.ts';
import { createEngine } from '../../../lib/engine/engine.ts';
import { hash32 } from '../../../lib/routing/hash.ts';
import { createServer } from './echo-server.ts';

describe('recordTrace', () => {
  it('records what a running engine was asked, and reads back what it wrote', async () => {
    const engine = createEngine({ servers: { local: { server: createServer } } });
    try {
      await engine.start();
      const recorder = recordTrace(engine, { server: 'local' });
      await engine.callTool('local__echo', {});
      await engine.callTool('local__echo', {});
      const trace = recorder.stop();
      await engine.callTool('local__echo', {});
      expect(trace).toHaveLength(2);
      expect(trace[0]).toMatchObject({ at: 0, target: 'local__echo', ok: true });
      expect(trace[1]!.at).toBeGreaterThanOrEqual(0);
      expect(trace[0]!.key).toBeUndefined();
      expect(recorder.unfinished).toBe(0);
      expect(parseTrace(formatTrace(trace))).toEqual(trace);
    } finally {
      await engine.stop();
    }
  });

  it('gives requests the keys it is told, and says what it has not seen the end of', async () => {
    const engine = createEngine({ servers: { local: { server: createServer } } });
    try {
      await engine.start();
      const users = ['ann', 'bob', 7];
      const recorder = recordTrace(engine, { keyOf: () => users.shift() });
      for (let i = 0; i < 4; i++) await engine.callTool('local__echo', {});
      const open = engine.callTool('local__echo', {});
      // It is on its way now.
      await Promise.resolve();
      const trace = recorder.stop();
      expect(recorder.unfinished).toBe(1);
      await open;
      // Moments are whole milliseconds of the wall clock, so two quick calls may change places.
      const keys = new Set(trace.map(({ key }) => key));
      expect(keys).toEqual(new Set([hash32('ann') >>> 1, hash32('bob') >>> 1, 7, undefined]));
      expect(trace).toHaveLength(4);
      expect(parseTrace(formatTrace(trace))).toEqual(trace);
    } finally {
      await engine.stop();
    }
  });

  it('reads keys that are texts or whole numbers', () => {
    const trace = parseTrace('{"at":0,"size":1,"key":"ann"}\n{"at":1,"size":1,"key":3}\n{"at":2,"size":1}\n');
    expect(trace.map(({ key }) => key)).toEqual([hash32('ann') >>> 1, 3, undefined]);
  });

  it.each([
    '{"at":-1,"size":1}',
    '{"at":1}',
    '{"at":1e999,"size":1}',
    '{"at":1,"size":1e999}',
    '{"at":1,"size":1,"key":1.5}',
    '{"at":1,"size":1,"key":{}}',
    'no json',
    '[]',
  ])('refuses %s', (line) => {
    expect(() => parseTrace(line)).toThrow('line 1: expected');
  });

  it('refuses an empty trace', () => {
    expect(() => parseTrace('\n')).toThrow('has no requests');
  });
});

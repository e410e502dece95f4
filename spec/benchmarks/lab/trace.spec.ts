import { describe, expect, it } from '@jest/globals';
import { formatTrace, parseTrace, recordTrace } from '../../../benchmarks/lab/trace.ts';
import { createEngine } from '../../../lib/engine/engine.ts';
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
      expect(parseTrace(formatTrace(trace))).toEqual(trace);
    } finally {
      await engine.stop();
    }
  });

  it.each(['{"at":-1,"size":1}', '{"at":1}', 'no json', '[]'])('refuses %s', (line) => {
    expect(() => parseTrace(line)).toThrow('line 1: expected');
  });

  it('refuses an empty trace', () => {
    expect(() => parseTrace('\n')).toThrow('has no requests');
  });
});

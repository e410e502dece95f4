import { describe, expect, it, jest } from '@jest/globals';
import type { EngineEvent } from '../../lib/core/events.ts';
import { silentLogger, type Logger } from '../../lib/core/ports.ts';
import { createEventBus, type EventBus } from '../../lib/telemetry/event-bus.ts';

const added = (server: string): EngineEvent => ({ type: 'server.added', at: 1, server });
const stopped: EngineEvent = { type: 'engine.stopped', at: 2 };

function create(): { bus: EventBus; logged: [string, unknown][] } {
  const logged: [string, unknown][] = [];
  const logger: Logger = {
    ...silentLogger,
    error: (message, fields) => void logged.push([message, fields?.['error']]),
  };
  return { bus: createEventBus({ logger, now: () => 42 }), logged };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('the event bus', () => {
  it('tells who listens to a type, then who listens to everything', () => {
    const { bus } = create();
    const heard: string[] = [];
    bus.on('*', (event) => heard.push(`* ${event.type}`));
    bus.on('server.added', (event) => heard.push(`1 ${event.server}`));
    bus.on('server.added', (event) => heard.push(`2 ${event.server}`));
    bus.emit(added('a'));
    bus.emit(stopped);
    expect(heard).toEqual(['1 a', '2 a', '* server.added', '* engine.stopped']);
  });

  it('knows whether anybody would hear', () => {
    const { bus } = create();
    expect(bus.hasListeners('server.added')).toBe(false);
    const end = bus.on('server.added', () => {});
    expect([bus.hasListeners('server.added'), bus.hasListeners('engine.stopped')]).toEqual([true, false]);
    end();
    expect(bus.hasListeners('server.added')).toBe(false);
    bus.on('*', () => {});
    expect(bus.hasListeners('engine.stopped')).toBe(true);
  });

  it('goes on when a listener throws, and logs it once', () => {
    const { bus, logged } = create();
    const after = jest.fn();
    bus.on('server.added', () => {
      throw new Error('boom');
    });
    bus.on('server.added', after);
    for (let i = 0; i < 3; i++) bus.emit(added('a'));
    expect(after).toHaveBeenCalledTimes(3);
    expect(logged).toEqual([[expect.stringContaining('server.added'), 'boom']]);
    expect(bus.stats()).toEqual({ listeners: 2, failures: 3, lastFailureAt: 42 });
  });

  it('logs each failing listener, whatever it throws', () => {
    const { bus, logged } = create();
    for (const value of [undefined, 'text', null]) {
      bus.on('*', () => {
        // eslint-disable-next-line typescript/only-throw-error -- a listener may do so
        throw value;
      });
    }
    bus.emit(stopped);
    expect(logged).toHaveLength(3);
  });

  it('takes a rejection like a throw', async () => {
    const { bus, logged } = create();
    bus.on('*', () => Promise.reject(new Error('later')));
    bus.emit(stopped);
    bus.emit(stopped);
    await turn();
    expect(logged).toEqual([[expect.any(String), 'later']]);
    expect(bus.stats().failures).toBe(2);
  });

  it('survives a logger that throws', () => {
    const logger: Logger = {
      ...silentLogger,
      error: () => {
        throw new Error('disk full');
      },
    };
    const bus = createEventBus({ logger, now: () => 0 });
    bus.on('*', () => {
      throw new Error('boom');
    });
    expect(() => bus.emit(stopped)).not.toThrow();
  });

  it('does not call who left during the call', () => {
    const { bus } = create();
    const heard: string[] = [];
    const ends: (() => void)[] = [];
    ends.push(
      bus.on('server.added', () => {
        heard.push('first');
        for (const end of ends) end();
      }),
      bus.on('server.added', () => heard.push('second')),
      bus.on('*', () => heard.push('third')),
    );
    bus.emit(added('a'));
    bus.emit(added('a'));
    expect(heard).toEqual(['first']);
    expect(bus.stats().listeners).toBe(0);
  });

  it('ends one registration at a time, and only once', () => {
    const { bus } = create();
    const listener = jest.fn();
    const first = bus.on('*', listener);
    bus.on('*', listener);
    first();
    first();
    bus.emit(stopped);
    expect(listener).toHaveBeenCalledTimes(1);
  });

  it('may be used from within a listener', () => {
    const { bus } = create();
    const heard: string[] = [];
    bus.on('engine.stopped', () => heard.push('stopped'));
    bus.on('server.added', ({ server }) => {
      heard.push(server);
      if (server === 'a') bus.emit(added('b'));
      else bus.emit(stopped);
      bus.on('engine.stopped', () => heard.push('new'));
    });
    bus.emit(added('a'));
    expect(heard).toEqual(['a', 'b', 'stopped']);
  });

  it('lets go of everybody', () => {
    const { bus } = create();
    const listener = jest.fn();
    bus.on('*', listener);
    bus.on('server.added', listener);
    bus.clear();
    bus.emit(added('a'));
    expect([listener.mock.calls.length, bus.stats().listeners, bus.hasListeners('server.added')]).toEqual([
      0,
      0,
      false,
    ]);
  });

  it('refuses what is no function', () => {
    const { bus } = create();
    expect(() => bus.on('*', undefined as unknown as () => void)).toThrow(
      expect.objectContaining({ code: 'invalid_request' }),
    );
  });
});

/**
 * Each of the six libraries does real work at its door: what the engine does by it, it no longer does when the library is
 * put out of action. The engine and the servers are real; only the library under test is switched.
 */
import { describe, expect, it, jest } from '@jest/globals';
import { createActor, type AnyStateMachine } from 'xstate';
import * as eventemitter3 from 'eventemitter3';
import * as lru from 'lru-cache';
import Opossum from 'opossum';
import pRetry, { type Options } from 'p-retry';
import * as rxjs from 'rxjs';
import * as xstate from 'xstate';
import type { Engine } from '../lib/engine/contract.ts';
import type { ServerConfig } from '../lib/config/config.ts';
import type { FlakyHttp } from './support/flaky-http.mjs';

jest.setTimeout(30_000);

type Library = 'xstate' | 'rxjs' | 'p-retry' | 'opossum' | 'lru-cache' | 'eventemitter3';
/** The library that does nothing now. */
let out: Library | undefined;

jest.unstable_mockModule('xstate', () => ({
  ...xstate,
  createActor(machine: AnyStateMachine, options: object) {
    const actor = createActor(machine, options);
    const send = actor.send.bind(actor);
    if (machine.id === 'connection') actor.send = (event) => (out === 'xstate' ? undefined : send(event));
    return actor;
  },
}));

jest.unstable_mockModule('rxjs', () => ({
  ...rxjs,
  Subject: class<T> extends rxjs.Subject<T> {
    override next(value: T): void {
      if (out !== 'rxjs') super.next(value);
    }
  },
}));

jest.unstable_mockModule('p-retry', () => ({
  default: (input: (attempt: number) => Promise<unknown>, options: Options) =>
    out === 'p-retry' ? input(1) : pRetry(input, options),
}));

jest.unstable_mockModule('opossum', () => ({
  default: class extends Opossum<[boolean], void> {
    override fire(failed: boolean): Promise<void> {
      return out === 'opossum' ? Promise.resolve() : super.fire(failed);
    }
    override open(): void {
      if (out !== 'opossum') super.open();
    }
  },
}));

jest.unstable_mockModule('lru-cache', () => ({
  ...lru,
  LRUCache: class<K extends object | string, V extends object> extends lru.LRUCache<K, V> {
    override set(...args: Parameters<lru.LRUCache<K, V>['set']>): this {
      return out === 'lru-cache' ? this : super.set(...args);
    }
  },
}));

jest.unstable_mockModule('eventemitter3', () => ({
  ...eventemitter3,
  EventEmitter: class extends eventemitter3.EventEmitter<string> {
    override emit(...args: [string, ...unknown[]]): boolean {
      return out === 'eventemitter3' ? false : super.emit(...args);
    }
  },
}));

// Only now, so that the engine gets its libraries through the switches.
const { engines, failureOf, hostHearsNothing, textOf } = await import('./support/engines.ts');
const { flakyHttps } = await import('./support/flaky.ts');

hostHearsNothing();
const engine = engines();
const http = flakyHttps();

interface Setting {
  readonly server: FlakyHttp;
  readonly troupe: Engine;
}

const look = ({ troupe }: Setting, options = {}): Promise<string> =>
  textOf(troupe.callTool('s__look', { nonce: 'n' }, { timeoutMs: 2_000, ...options }));

/** What the engine does by each library; true where it did it. */
const works: Readonly<
  Record<Library, { readonly settings: ServerConfig; readonly it: (setting: Setting) => Promise<boolean> }>
> = {
  /** The connection machine: a server is connected, and anew after it was lost. */
  xstate: {
    settings: {},
    it: ({ troupe }) => Promise.resolve(troupe.connection('s').state === 'Connected'),
  },
  /** A change of the fleet reaches whoever watches it. */
  rxjs: {
    settings: {},
    async it({ server, troupe }) {
      let connections = 0;
      const watching = troupe.fleet$.subscribe((fleet) => (connections = fleet.connections.length));
      await troupe.add('later', { url: server.url, lazy: true });
      watching.unsubscribe();
      return connections === 2;
    },
  },
  /** A read that failed once is asked again. */
  'p-retry': {
    settings: { trusted: true, retry: { baseMs: 1, capMs: 1 } },
    async it(setting) {
      let refused = 0;
      setting.server.refuse = ({ method }) =>
        method === 'tools/call' && refused++ === 0 ? { status: 503 } : undefined;
      return look(setting).then(
        () => true,
        () => false,
      );
    },
  },
  /** A server that always fails is not asked any more. */
  opossum: {
    settings: { retry: false, breaker: { minSamples: 3, consecutive: 3, openMs: 60_000 } },
    async it(setting) {
      setting.server.refuse = ({ method }) => (method === 'tools/call' ? { status: 503 } : undefined);
      for (let i = 0; i < 3; i += 1) await failureOf(look(setting));
      return (await failureOf(look(setting))).code === 'circuit_open';
    },
  },
  /** What was read is remembered. */
  'lru-cache': {
    settings: {},
    async it({ server, troupe }) {
      server.hints = () => ({ ttlMs: 60_000 });
      for (let i = 0; i < 2; i += 1) await troupe.readResource('mini://a');
      return server.count('resources/read') === 1;
    },
  },
  /** Listeners of the host hear of what happens. */
  eventemitter3: {
    settings: {},
    async it(setting) {
      let heard = 0;
      setting.troupe.on('request.settled', () => (heard += 1));
      await look(setting);
      return heard === 1;
    },
  },
};

describe.each(Object.keys(works) as Library[])('%s', (library) => {
  it.each([
    ['does its work', false],
    ['is what does it: without it, it is not done', true],
  ])('%s', async (_, disabled) => {
    const { settings, it: does } = works[library];
    const server = await http();
    out = disabled ? library : undefined;
    try {
      const troupe = engine({ servers: { s: { url: server.url, ...settings } } });
      await troupe.start();
      expect(await does({ server, troupe })).toBe(!disabled);
    } finally {
      out = undefined;
    }
  });
});

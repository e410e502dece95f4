import { afterEach, describe, expect, it } from '@jest/globals';
import type { ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import { Pool } from 'undici';
import type { TroupeError } from '../../../lib/core/errors.ts';
import {
  HttpClient,
  HttpExchange,
  type HttpRequest,
  type Lane,
} from '../../../lib/mcp/transports/http-client.ts';
import {
  createHttpFixture,
  optionsFor,
  stream,
  text,
  type ChannelChange,
  type HttpFixture,
  type Script,
} from '../../support/http-fixture.ts';

const cleanups: (() => Promise<unknown>)[] = [];

/** Writes down what it hears. */
class Recorder extends HttpExchange {
  readonly heard: string[] = [];
  bytes = 0;
  error: TroupeError | undefined;
  onHeard: (() => void) | undefined;

  protected override head(status: number): void {
    this.#hear(`head ${status}`);
  }
  protected override body(piece: Buffer): void {
    this.bytes += piece.length;
    if (piece.length <= 20) this.#hear(piece.toString());
  }
  protected override end(): void {
    this.#hear('end');
  }
  protected override fail(error: TroupeError): void {
    this.error = error;
    this.#hear(`fail ${error.code} ${error.delivery}`);
  }
  #hear(what: string): void {
    this.heard.push(what);
    this.onHeard?.();
  }

  until(what: string): Promise<void> {
    return new Promise((resolve) => {
      this.onHeard = () => {
        if (this.heard.some((h) => h.startsWith(what))) resolve();
      };
      this.onHeard();
    });
  }
}

async function setUp(
  script: Script,
  change?: ChannelChange,
): Promise<{ client: HttpClient; fixture: HttpFixture }> {
  const fixture = await createHttpFixture(script);
  const client = new HttpClient(optionsFor(fixture.url, change));
  cleanups.push(async () => {
    await client.close();
    await fixture.until(() => fixture.sockets === 0);
    await fixture.close();
  });
  return { client, fixture };
}

function start(client: HttpClient, request: Partial<HttpRequest> = {}, lane: Lane = 'request'): Recorder {
  const exchange = new Recorder(client);
  client.start(exchange, { method: 'GET', path: '/', headers: [], ...request }, lane);
  return exchange;
}

afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

describe('an exchange', () => {
  it('hears head, body and end, in this order and once', async () => {
    const { client } = await setUp((_seen, response) => {
      response.writeProcessing();
      response.writeEarlyHints({ link: '</x>; rel=preload' });
      text(response, 201, 'hello');
    });
    const exchange = start(client);
    await exchange.until('end');
    exchange.abort();
    expect(exchange.heard).toEqual(['head 201', 'hello', 'end']);
  });

  it('hears nothing more once aborted, and its socket is closed', async () => {
    let out: ServerResponse | undefined;
    const { client, fixture } = await setUp((_seen, response) => {
      out = stream(response);
    });
    const exchange = start(client);
    await exchange.until('head');
    exchange.abort();
    out?.write('late');
    await fixture.until(() => fixture.open === 0);
    expect(exchange.heard).toEqual(['head 200']);
  });

  it('is never sent when aborted while it waits for a socket', async () => {
    const { client, fixture } = await setUp(
      (seen, response) => void (seen.path !== '/first' && text(response, 200)),
      { connections: 1 },
    );
    const first = start(client, { path: '/first' });
    await fixture.until(() => fixture.seen.length === 1);
    const waiting = start(client, { path: '/waiting' });
    const third = start(client, { path: '/third' });
    expect(waiting.started).toBe(false);
    waiting.abort();
    first.abort();
    await third.until('end');
    expect(fixture.seen.map((s) => s.path)).toEqual(['/first', '/third']);
    expect(waiting.heard).toEqual([]);
  });

  it('uses its connection again', async () => {
    const { client, fixture } = await setUp((_seen, response) => text(response, 200));
    for (let i = 0; i < 5; i += 1) await start(client).until('end');
    // The next one may start before the connection of the last one is free again.
    expect(fixture.sockets).toBeLessThanOrEqual(2);
  });

  it('on the control lane does not wait for requests', async () => {
    const { client, fixture } = await setUp(
      (seen, response) => void (seen.path === '/control' && text(response, 200)),
      { connections: 1 },
    );
    start(client);
    await fixture.until(() => fixture.seen.length === 1);
    await start(client, { path: '/control' }, 'control').until('end');
    expect(fixture.seen.map((s) => s.path)).toEqual(['/', '/control']);
  });

  it('unpacks no faster than it is read: a compressed body is taken in pieces', async () => {
    const packed = gzipSync(Buffer.alloc(30_000_000, 0x61));
    const { client } = await setUp((_seen, response) =>
      response.writeHead(200, { 'content-encoding': 'gzip' }).end(packed),
    );
    const exchange = start(client);
    await exchange.until('end');
    expect(exchange.bytes).toBe(30_000_000);
  });

  it('in compressed pieces is handed over piece by piece', async () => {
    const { client } = await setUp((_seen, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' });
      // A sync flush ends each piece, as compressing servers do for event streams.
      const packed = gzipSync(Buffer.from('first'));
      response.write(packed.subarray(0, packed.length - 9));
    });
    const exchange = start(client);
    await exchange.until('first');
    expect(exchange.over).toBe(false);
    exchange.abort();
  });

  it('fails as unsent when nothing listens, also after that was tried before', async () => {
    const { client, fixture } = await setUp(() => {});
    await fixture.close();
    for (let i = 0; i < 2; i += 1) {
      const exchange = start(client);
      await exchange.until('fail');
      expect(exchange.heard).toEqual(['fail unavailable unsent']);
    }
  });

  it('fails as invalid when it cannot be written down', async () => {
    const { client } = await setUp(() => {});
    const exchange = start(client, { headers: ['x', 'a\nb'] });
    expect(exchange.heard).toEqual(['fail invalid_request unsent']);
  });

  it('fails when the client closes, also while it waits', async () => {
    const { client, fixture } = await setUp(() => {}, { connections: 1 });
    const first = start(client);
    await fixture.until(() => fixture.seen.length === 1);
    const waiting = start(client);
    await client.close();
    expect(first.heard).toEqual(['fail connection_lost sent']);
    expect(waiting.heard).toEqual(['fail unavailable unsent']);
    const after = start(client);
    expect(after.heard).toEqual(['fail unavailable unsent']);
  });
});

describe('an injected dispatcher', () => {
  it('is used for everything and left open', async () => {
    const fixture = await createHttpFixture((_seen, response) => text(response, 200));
    const dispatcher = new Pool(fixture.url.origin);
    const client = new HttpClient(optionsFor(fixture.url, { dispatcher }));
    await start(client).until('end');
    await start(client, {}, 'control').until('end');
    await client.close();
    expect(dispatcher.destroyed).toBe(false);
    await dispatcher.destroy();
    await fixture.close();
  });
});

import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { CredentialContext, EngineConfig, ServerConfig } from '../../lib/config/config.ts';
import type { Engine } from '../../lib/engine/contract.ts';
import { startBearerHttp, type BearerHttp } from '../support/bearer-http.ts';
import { engines, failureOf, heard, hostHearsNothing, textOf, until } from '../support/engines.ts';

jest.setTimeout(30_000);
hostHearsNothing();
const engine = engines();
let server: BearerHttp;
beforeEach(async () => {
  server = await startBearerHttp(new Set(['mallory']));
});
afterEach(() => server.close());

/** The token of a principal is its id, so that the server can say whose a request was. */
const tokenOf = ({ principal }: CredentialContext): string | undefined => principal?.id;

function troupe(settings: ServerConfig = {}, config: EngineConfig = {}): Engine {
  return engine({
    ...config,
    servers: {
      docs: { url: server.url, type: 'http', era: 'legacy', auth: { bearer: tokenOf }, ...settings },
    },
  });
}

const whoami = async (of: Engine, principal: string): Promise<unknown> =>
  JSON.parse(await textOf(of.callTool('docs__whoami', {}, { principal })));
const connected = (of: Engine): string[] =>
  of.fleet.connections.filter(({ state }) => state === 'Connected').map(({ id }) => id);

describe('credentials of principals', () => {
  it('are never mixed: 200 calls of two, interleaved, each in a session of its own', async () => {
    const docs = troupe({ replicas: [{ url: server.url }, { url: server.url }] });
    await docs.start();
    const principals = Array.from({ length: 200 }, (_, i) => (i % 2 === 0 ? 'alice' : 'bob'));
    const answers = await Promise.all(principals.map((principal) => whoami(docs, principal)));
    expect(answers).toEqual(principals.map((id) => ({ bearer: id, session: id })));
    expect(server.mixed).toEqual([]);
    // One connection per replica and principal, however many ask first; nobody has asked on nobody's behalf.
    await until(() => connected(docs).length === 4, 'both replicas of both');
    expect([...server.opened].sort()).toEqual(['alice', 'alice', 'bob', 'bob']);
    expect(connected(docs)).toEqual(['docs#0@alice', 'docs#1@alice', 'docs#0@bob', 'docs#1@bob']);
    expect(docs.connection('docs#1@bob').state).toBe('Connected');
    expect(docs.connection('docs#0').state).toBe('Disconnected');
  });

  it('list to each what is theirs, and find by name only that', async () => {
    const docs = troupe();
    const namesFor = async (principal: string): Promise<string[]> =>
      (await docs.listTools({ principal })).items.map(({ name }) => name);
    expect(await namesFor('alice')).toEqual(['docs__whoami', 'docs__only-alice']);
    expect(await namesFor('bob')).toEqual(['docs__whoami', 'docs__only-bob']);
    expect(await textOf(docs.callTool('docs__only-alice', {}, { principal: 'alice' }))).toContain('alice');
    const refused = await failureOf(docs.callTool('docs__only-alice', {}, { principal: 'bob' }));
    expect(refused).toMatchObject({ code: 'not_found', delivery: 'unsent' });
    // On nobody's behalf there is no token: the server is a failure, not somebody's list.
    const { items, failures } = await docs.listTools();
    expect(items).toEqual([]);
    expect(failures).toMatchObject([{ server: 'docs', error: { code: 'auth_required' } }]);
  });

  it('share nothing that is remembered, not even what the server calls public', async () => {
    const docs = troupe({ cache: { resources: { ttlMs: 60_000 } } });
    const read = async (principal: string): Promise<string> => {
      const { contents } = (await docs.readResource('memo://who', { principal })) as {
        contents: [{ text: string }];
      };
      return contents[0].text;
    };
    for (const id of ['alice', 'bob', 'alice', 'bob']) expect(await read(id)).toContain(`"bearer":"${id}"`);
    expect([server.count('alice', 'resources/read'), server.count('bob', 'resources/read')]).toEqual([1, 1]);
  });

  it('share no subscription: each hears through a session of its own', async () => {
    const docs = troupe();
    const heardBy: string[] = [];
    for (const principal of ['alice', 'bob'])
      await docs.subscribeResource('memo://who', () => heardBy.push(principal), { principal });
    expect(server.watchers('memo://who').sort()).toEqual(['alice', 'bob']);
    await until(() => {
      server.touch('bob', 'memo://who');
      return heardBy.length > 0;
    }, 'the update');
    expect(new Set(heardBy)).toEqual(new Set(['bob']));
  });

  it('are refused for one alone', async () => {
    const docs = troupe();
    const required = heard(docs, 'auth.required');
    const refused = await failureOf(docs.callTool('docs__whoami', {}, { principal: 'mallory' }));
    expect(refused).toMatchObject({ code: 'auth_required', server: 'docs' });
    expect(required).toMatchObject([{ server: 'docs', connection: 'docs@mallory' }]);
    expect(await whoami(docs, 'alice')).toEqual({ bearer: 'alice', session: 'alice' });
    // The host answers by the connection that it was told about.
    await docs.authorize('docs@mallory', { token: 'carol' });
    expect(await whoami(docs, 'mallory')).toEqual({ bearer: 'carol', session: 'carol' });
    expect(server.mixed).toEqual([]);
  });

  it('count in the pool: one that is full makes room among principals as among servers', async () => {
    const docs = troupe({}, { pool: { maxConnections: 1 } });
    const evicted = heard(docs, 'connection.evicted');
    for (const id of ['alice', 'bob', 'alice']) {
      expect(await whoami(docs, id)).toEqual({ bearer: id, session: id });
      expect(connected(docs)).toEqual([`docs@${id}`]);
    }
    expect(evicted.map(({ connection }) => connection)).toEqual(['docs@alice', 'docs@bob']);
  });

  it('are closed and forgotten once their principal asks nothing any more', async () => {
    const docs = troupe({ auth: { bearer: tokenOf, idleMs: 200 } });
    const view = docs.connection.bind(docs);
    await whoami(docs, 'alice');
    const states: string[] = [];
    let over = false;
    view('docs@alice').state$.subscribe({ next: (s) => states.push(s), complete: () => (over = true) });
    await until(() => over, 'the end of the connection');
    expect(states.at(-1)).toBe('Disconnected');
    expect(docs.fleet.connections.map(({ id }) => id)).toEqual(['docs']);
    expect(() => view('docs@alice')).toThrow(/no connection "docs@alice"/);
    expect(await whoami(docs, 'alice')).toEqual({ bearer: 'alice', session: 'alice' });
  });

  it('pin the tools of each by themselves, and each is approved by itself', async () => {
    const docs = troupe({}, { pinning: { firstSight: 'approve' } });
    const quarantined = heard(docs, 'tool.quarantined');
    const held = await failureOf(whoami(docs, 'alice'));
    expect(held).toMatchObject({ code: 'denied', server: 'docs' });
    expect(held.message).toContain('approve("docs@alice", "whoami")');
    expect(new Set(quarantined.map(({ server: of }) => of))).toEqual(new Set(['docs@alice']));
    await docs.approve('docs@alice');
    expect(await whoami(docs, 'alice')).toEqual({ bearer: 'alice', session: 'alice' });
    expect((await failureOf(whoami(docs, 'bob'))).code).toBe('denied');
    // What bob is shown takes nothing of alice's away.
    expect(await textOf(docs.callTool('docs__only-alice', {}, { principal: 'alice' }))).toContain('alice');
  });

  it('end with the server and with the engine', async () => {
    const docs = troupe();
    await docs.start();
    await Promise.all([whoami(docs, 'alice'), whoami(docs, 'bob')]);
    await docs.remove('docs');
    expect(docs.fleet.connections).toEqual([]);
    await docs.add('docs', { url: server.url, era: 'legacy', auth: { bearer: tokenOf } });
    expect(await whoami(docs, 'alice')).toEqual({ bearer: 'alice', session: 'alice' });
    await docs.stop();
    expect(docs.fleet.connections.every(({ state }) => state === 'Disconnected')).toBe(true);
    expect((await failureOf(whoami(docs, 'carol'))).code).toBe('stopped');
  });
});

describe('who shares credentials', () => {
  it('is everybody where there is one token, or where it is said; a callback then hears of nobody', async () => {
    const asked: CredentialContext[] = [];
    const bearer = (context: CredentialContext): string => {
      asked.push(context);
      return 'shared';
    };
    const docs = troupe({ auth: { bearer, per: 'server' } });
    for (const id of ['alice', 'bob'])
      expect(await whoami(docs, id)).toEqual({ bearer: 'shared', session: 'shared' });
    expect(connected(docs)).toEqual(['docs']);
    expect(asked).toEqual([{ server: 'docs', principal: undefined, tenant: undefined }]);
  });

  it('is a tenant where that is said', async () => {
    const docs = troupe({ auth: { bearer: ({ tenant }: CredentialContext) => tenant, per: 'tenant' } });
    const principals = [
      { id: 'alice', tenant: 'acme' },
      { id: 'bob', tenant: 'acme' },
      { id: 'carol', tenant: 'other' },
    ];
    for (const principal of principals)
      expect(await textOf(docs.callTool('docs__whoami', {}, { principal }))).toContain(principal.tenant);
    expect([...server.opened]).toEqual(['acme', 'other']);
  });

  it('is the engine itself for its own principal', async () => {
    const docs = troupe({}, { principal: 'host' });
    await docs.start();
    expect(connected(docs)).toEqual(['docs']);
    expect(await whoami(docs, 'host')).toEqual({ bearer: 'host', session: 'host' });
    expect(await textOf(docs.callTool('docs__whoami'))).toContain('"bearer":"host"');
    expect(await whoami(docs, 'alice')).toEqual({ bearer: 'alice', session: 'alice' });
    expect(server.opened).toEqual(['host', 'alice']);
  });

  it('takes any id for what it is: none reads like another in the name of a connection', async () => {
    const docs = troupe({
      auth: { bearer: ({ principal }: CredentialContext) => `t${ids.indexOf(principal?.id ?? '')}` },
    });
    const ids = [
      'a@b',
      'a%40b',
      'a#0',
      '',
      'ü',
      '~',
      '%7E',
      'x'.repeat(200),
      `${'x'.repeat(199)}y`,
      '\ud800',
    ];
    for (const [i, id] of ids.entries())
      expect(await whoami(docs, id)).toEqual({ bearer: `t${i}`, session: `t${i}` });
    expect(new Set(connected(docs)).size).toBe(ids.length);
    for (const id of connected(docs)) expect(id).toMatch(/^docs@[\w.!'()*~%-]{1,64}$/);
  });
});

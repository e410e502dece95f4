import { describe, expect, it } from '@jest/globals';
import { TroupeError } from '../../lib/core/errors.ts';
import { silentLogger } from '../../lib/core/ports.ts';
import { WatchedResources } from '../../lib/engine/watched-resources.ts';
import type { Session } from '../../lib/mcp/session/session.ts';
import { requestOf } from '../support/requests.ts';

/** A session that keeps every set of URIs it was given. */
function session(
  era: 'legacy' | 'modern' = 'legacy',
  refuse?: string,
): Session & { readonly sets: string[][] } {
  const sets: string[][] = [];
  return {
    era,
    sets,
    setSubscriptions(uris: ReadonlySet<string>) {
      sets.push([...uris]);
      const refused = refuse !== undefined && uris.has(refuse) ? [refuse] : [];
      return Promise.resolve(new Map(refused.map((uri) => [uri, new TroupeError('unsupported', 'no')])));
    },
  } as unknown as Session & { readonly sets: string[][] };
}

const ignore = (): void => {};
const ASKED = requestOf({ method: 'resources/subscribe' });

describe('WatchedResources', () => {
  it('tells the server once for many listeners, and again when the last one leaves', async () => {
    const watched = new WatchedResources('s', silentLogger);
    const current = session();
    watched.attach(current, ignore);
    const first = await watched.add('x://1', ignore, ASKED);
    const second = await watched.add('x://1', ignore, ASKED);
    await first.close();
    await first.close();
    expect(current.sets).toEqual([['x://1']]);
    await second.close();
    expect(current.sets).toEqual([['x://1'], []]);
    expect(watched.size).toBe(0);
  });

  it('tells each only what the server says to it', async () => {
    const watched = new WatchedResources('s', silentLogger);
    watched.attach(session('legacy', 'x://bad'), ignore);
    const outcomes = await Promise.allSettled(
      ['x://1', 'x://bad', 'x://2'].map((uri) => watched.add(uri, ignore, ASKED)),
    );
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect([...watched.uris]).toEqual(['x://1', 'x://2']);
  });

  it('calls everyone who watches the resource or something above it', async () => {
    const watched = new WatchedResources('s', silentLogger);
    const heard: string[] = [];
    await watched.add('x://dir', ({ uri }) => heard.push(`dir:${uri}`), ASKED);
    await watched.add('x://dir/file', ({ uri, server }) => heard.push(`${server}:${uri}`), ASKED);
    await watched.add('x://directory', ({ uri }) => heard.push(`other:${uri}`), ASKED);
    watched.updated({ uri: 'x://dir/file' });
    watched.updated({ uri: 7 });
    expect(heard).toEqual(['dir:x://dir/file', 's:x://dir/file']);
  });

  it('tells of what is below only those who may know of it', async () => {
    const mayHear = (_request: unknown, uri: string): boolean | Promise<boolean> =>
      uri.includes('later') ? Promise.resolve(true) : !uri.includes('secret');
    const watched = new WatchedResources('s', silentLogger, mayHear);
    const heard: string[] = [];
    await watched.add('x://secret', ({ uri }) => heard.push(uri), ASKED);
    await watched.add('x://dir', ({ uri }) => heard.push(uri), ASKED);
    for (const uri of ['x://secret', 'x://dir/secret', 'x://dir/later', 'x://dir/file'])
      watched.updated({ uri });
    expect(heard).toEqual(['x://secret', 'x://dir/file']);
    await new Promise((resolve) => void setImmediate(resolve));
    expect(heard).toEqual(['x://secret', 'x://dir/file', 'x://dir/later']);
  });

  it('goes on after a listener that throws', async () => {
    const watched = new WatchedResources('s', silentLogger);
    const heard: string[] = [];
    await watched.add(
      'x://1',
      () => {
        throw new Error('defect');
      },
      ASKED,
    );
    await watched.add('x://1', ({ uri }) => heard.push(uri), ASKED);
    watched.updated({ uri: 'x://1' });
    expect(heard).toEqual(['x://1']);
  });

  it('gives the whole set to the next session', async () => {
    const watched = new WatchedResources('s', silentLogger);
    const before = session();
    watched.attach(before, ignore);
    await watched.add('x://1', ignore, ASKED);
    await watched.add('x://2', ignore, ASKED);
    watched.detach(before);
    const after = session();
    watched.attach(after, ignore);
    await Promise.resolve();
    expect(after.sets).toEqual([['x://1', 'x://2']]);
  });

  it('opens the change stream of a modern session also when nothing is watched', async () => {
    const modern = session('modern');
    new WatchedResources('s', silentLogger).attach(modern, ignore);
    await Promise.resolve();
    expect(modern.sets).toEqual([[]]);
  });

  it('forgets what the server refuses, and tells who asked', async () => {
    const watched = new WatchedResources('s', silentLogger);
    watched.attach(session('legacy', 'x://no'), ignore);
    await expect(watched.add('x://no', ignore, ASKED)).rejects.toMatchObject({ code: 'unsupported' });
    expect(watched.size).toBe(0);
    await expect(watched.add('x://yes', ignore, ASKED)).resolves.toMatchObject({
      uri: 'x://yes',
      server: 's',
    });
  });

  describe('under another policy', () => {
    const ALICE = requestOf({ principal: { id: 'alice' } });
    const BOB = requestOf({ principal: { id: 'bob' } });
    const notBob = ({ principal }: { readonly principal: { readonly id: string } | undefined }): boolean =>
      principal?.id !== 'bob';

    it('ends at once what may not go on, and tells the server where nobody else watches', async () => {
      const watched = new WatchedResources('s', silentLogger);
      const current = session();
      watched.attach(current, ignore);
      const heard: string[] = [];
      const hear =
        (who: string) =>
        ({ uri }: { readonly uri: string }): void =>
          void heard.push(`${who} ${uri}`);
      await watched.add('x://1', hear('alice'), ALICE);
      const shared = await watched.add('x://1', hear('bob'), BOB);
      const own = await watched.add('x://2', hear('bob'), BOB);
      const told = current.sets.length;
      const reviewed = watched.review(notBob);
      // The server does not know yet, or does not care.
      watched.updated({ uri: 'x://1' });
      watched.updated({ uri: 'x://2' });
      expect(heard).toEqual(['alice x://1']);
      await reviewed;
      await Promise.resolve();
      expect(current.sets.slice(told)).toEqual([['x://1']]);
      // Whoever closes it afterwards has nothing left to end.
      await shared.close();
      await own.close();
      expect([...watched.uris]).toEqual(['x://1']);
      expect(current.sets.slice(told)).toEqual([['x://1']]);
      // Nor does it come back with the next session.
      watched.detach(current);
      const after = session();
      watched.attach(after, ignore);
      await Promise.resolve();
      expect(after.sets).toEqual([['x://1']]);
    });

    it('tells the server nothing where everybody may go on, or others still watch', async () => {
      const watched = new WatchedResources('s', silentLogger);
      const current = session();
      watched.attach(current, ignore);
      await watched.add('x://1', ignore, ALICE);
      await watched.add('x://1', ignore, BOB);
      const told = current.sets.length;
      await watched.review(() => true);
      await watched.review(notBob);
      await Promise.resolve();
      expect(current.sets).toHaveLength(told);
    });

    it('keeps updates back while it is being asked, and gives them to whom it allows', async () => {
      const watched = new WatchedResources('s', silentLogger);
      const heard: string[] = [];
      await watched.add('x://1', () => heard.push('alice'), ALICE);
      await watched.add('x://1', () => heard.push('bob'), BOB);
      let answer = ignore;
      const asked = new Promise<void>((resolve) => {
        answer = resolve;
      });
      const reviewed = watched.review((request) => asked.then(() => notBob(request)));
      watched.updated({ uri: 'x://1' });
      await Promise.resolve();
      expect(heard).toEqual([]);
      answer();
      await reviewed;
      watched.updated({ uri: 'x://1' });
      expect(heard).toEqual(['alice', 'alice']);
    });

    it('refuses whom the server accepts only afterwards', async () => {
      const watched = new WatchedResources('s', silentLogger);
      const current = session();
      let accept = ignore;
      current.setSubscriptions = (uris) => {
        current.sets.push([...uris]);
        return new Promise((resolve) => {
          accept = () => resolve(new Map());
        });
      };
      watched.attach(current, ignore);
      const adding = watched.add('x://1', ignore, BOB);
      adding.catch(ignore);
      await Promise.resolve();
      expect(current.sets).toEqual([['x://1']]);
      await watched.review(notBob);
      accept();
      await expect(adding).rejects.toMatchObject({ code: 'denied', data: { reason: 'policy' } });
      expect(watched.size).toBe(0);
      expect(current.sets).toEqual([['x://1'], []]);
      accept();
    });
  });
});

import { describe, expect, it } from '@jest/globals';
import { TroupeError } from '../../lib/core/errors.ts';
import { silentLogger } from '../../lib/core/ports.ts';
import { WatchedResources } from '../../lib/engine/watched-resources.ts';
import type { Session } from '../../lib/mcp/session/session.ts';

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
      return refuse !== undefined && uris.has(refuse)
        ? Promise.reject(new TroupeError('unsupported', 'no'))
        : Promise.resolve();
    },
  } as unknown as Session & { readonly sets: string[][] };
}

const ignore = (): void => {};

describe('WatchedResources', () => {
  it('tells the server once for many listeners, and again when the last one leaves', async () => {
    const watched = new WatchedResources('s', silentLogger);
    const current = session();
    watched.attach(current, ignore);
    const first = await watched.add('x://1', ignore);
    const second = await watched.add('x://1', ignore);
    await first.close();
    await first.close();
    expect(current.sets).toEqual([['x://1']]);
    await second.close();
    expect(current.sets).toEqual([['x://1'], []]);
    expect(watched.size).toBe(0);
  });

  it('calls everyone who watches the resource or something above it', async () => {
    const watched = new WatchedResources('s', silentLogger);
    const heard: string[] = [];
    await watched.add('x://dir', ({ uri }) => heard.push(`dir:${uri}`));
    await watched.add('x://dir/file', ({ uri, server }) => heard.push(`${server}:${uri}`));
    await watched.add('x://directory', ({ uri }) => heard.push(`other:${uri}`));
    watched.updated({ uri: 'x://dir/file' });
    watched.updated({ uri: 7 });
    expect(heard).toEqual(['dir:x://dir/file', 's:x://dir/file']);
  });

  it('goes on after a listener that throws', async () => {
    const watched = new WatchedResources('s', silentLogger);
    const heard: string[] = [];
    await watched.add('x://1', () => {
      throw new Error('defect');
    });
    await watched.add('x://1', ({ uri }) => heard.push(uri));
    watched.updated({ uri: 'x://1' });
    expect(heard).toEqual(['x://1']);
  });

  it('gives the whole set to the next session', async () => {
    const watched = new WatchedResources('s', silentLogger);
    const before = session();
    watched.attach(before, ignore);
    await watched.add('x://1', ignore);
    await watched.add('x://2', ignore);
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
    await expect(watched.add('x://no', ignore)).rejects.toMatchObject({ code: 'unsupported' });
    expect(watched.size).toBe(0);
    await expect(watched.add('x://yes', ignore)).resolves.toMatchObject({ uri: 'x://yes', server: 's' });
  });
});

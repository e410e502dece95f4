import { describe, expect, it } from '@jest/globals';
import { createRoutingRules, type RoutingRule } from '../../lib/routing/rules.ts';
import { compileGlob } from '../../lib/security/glob.ts';

const compile = (pattern: string, kind: 'path' | 'name') => compileGlob(pattern, { kind });
const rulesOf = (...rules: RoutingRule[]) =>
  createRoutingRules(rules, compile, new Set(['files', 'media', 'backup']));

describe('routing rules', () => {
  it('send a resource to the server of the first rule that fits', () => {
    const rules = rulesOf(
      { match: 'file:///media/**', to: 'media' },
      { match: ['file://**', 'smb://**'], to: ['files', 'backup'] },
    );
    expect(rules.serversFor('file:///media/a/b.png')).toEqual(['media']);
    expect(rules.serversFor('file:///etc/hosts')).toEqual(['files', 'backup']);
    expect(rules.serversFor('smb://host/x')).toEqual(['files', 'backup']);
    expect(rules.serversFor('https://example.com/')).toBeUndefined();
  });

  it('go by type, and by both together', () => {
    const rules = rulesOf(
      { match: 'file://**', type: 'image/*', to: 'media' },
      { type: ['text/*'], to: 'files' },
    );
    expect(rules.serversFor('file:///a', 'Image/PNG')).toEqual(['media']);
    expect(rules.serversFor('https://x/a', 'image/png')).toBeUndefined();
    expect(rules.serversFor('https://x/a', 'text/html; charset=utf-8')).toEqual(['files']);
    // Unknown type: no rule that asks for one.
    expect(rules.serversFor('file:///a')).toBeUndefined();
  });

  it.each([
    [{ to: 'files' }, 'routes[0].match'],
    [{ match: 'file://**' }, 'routes[0].to'],
    [{ match: 'file://**', to: 'nobody' }, 'routes[0].to'],
    [{ match: '', to: 'files' }, 'routes[0].match'],
    [{ match: 7, to: 'files' }, 'routes[0].match'],
    [{ match: 'x'.repeat(10_000), to: 'files' }, 'routes[0].match'],
    ['file://**', 'routes[0]'],
  ])('refuse %j', (rule, field) => {
    expect(() => rulesOf(rule as never)).toThrow(
      expect.objectContaining({ code: 'config_invalid', data: { field } }),
    );
  });
});

import { describe, expect, it } from '@jest/globals';
import type { Request } from '../../lib/core/request.ts';
import { listingOf, operationOf, queryOf, useOf } from '../../lib/security/policy-request.ts';
import { requestOf } from '../support/requests.ts';

const asked = (change: Partial<Request>, location?: { server: string; name: string }): object =>
  Object.fromEntries(
    Object.entries(queryOf(requestOf(change), location)).filter(([, value]) => value !== undefined),
  );

describe('the question behind a request', () => {
  it('is about the name that goes on the wire, not the exposed one', () => {
    expect(asked({ principal: { id: 'alice' } })).toEqual({
      operation: 'tools.call',
      server: 'alpha',
      tool: 'echo',
      principal: { id: 'alice' },
      arguments: { message: 'hi' },
    });
  });

  it('takes server and name from the location where there is one', () => {
    expect(asked({ server: undefined, params: { name: 'a__x' } }, { server: 'a', name: 'x' })).toEqual({
      operation: 'tools.call',
      server: 'a',
      tool: 'x',
    });
  });

  it.each<[Partial<Request>, object]>([
    [
      { method: 'resources/read', params: { uri: 'x://y' } },
      { operation: 'resources.read', resource: 'x://y' },
    ],
    [
      { method: 'resources/unsubscribe', params: { uri: 'x://y' } },
      { operation: 'resources.subscribe', resource: 'x://y' },
    ],
    [
      { method: 'subscriptions/listen', target: undefined, params: { notifications: {} } },
      { operation: 'resources.subscribe' },
    ],
    [
      { method: 'prompts/get', params: { name: 'p' } },
      { operation: 'prompts.get', prompt: 'p' },
    ],
    [
      { method: 'completion/complete', params: { ref: { type: 'ref/prompt', name: 'p' } } },
      { operation: 'completion', prompt: 'p' },
    ],
    [
      { method: 'completion/complete', params: { ref: { type: 'ref/resource', uri: 'x://{y}' } } },
      { operation: 'completion', resource: 'x://{y}' },
    ],
    [{ method: 'completion/complete', params: { ref: 'p' } }, { operation: 'completion' }],
    [
      { method: 'completion/complete', params: { ref: { type: 'ref/prompt', name: 7 } } },
      { operation: 'completion' },
    ],
    [{ method: 'tools/list', params: undefined, target: undefined }, { operation: 'tools.list' }],
    [
      { method: 'acme/do', params: { a: 1 } },
      { operation: 'vendor', method: 'acme/do', arguments: { a: 1 } },
    ],
  ])('%j', (change, expected) => {
    expect(asked(change)).toEqual({ server: 'alpha', ...expected });
  });

  it('calls every method MCP does not define a vendor one', () => {
    expect(
      ['ping', 'logging/setLevel', 'sampling/createMessage', 'acme/do', '__proto__'].map(operationOf),
    ).toEqual(['server.connect', 'logging', 'sampling', 'vendor', 'vendor']);
  });
});

describe('seeing and using', () => {
  it('lists what is used, and uses what is listed', () => {
    const pairs = [
      ['tools.call', 'tools.list'],
      ['resources.read', 'resources.list'],
      ['prompts.get', 'prompts.list'],
    ] as const;
    for (const [use, listing] of pairs) {
      expect(listingOf({ operation: use })?.operation).toBe(listing);
      expect(useOf({ operation: listing }).operation).toBe(use);
    }
    expect(listingOf({ operation: 'completion', prompt: 'p' })?.operation).toBe('prompts.list');
    expect(listingOf({ operation: 'completion', resource: 'r' })?.operation).toBe('resources.list');
    expect(listingOf({ operation: 'completion' })).toBeUndefined();
    expect(listingOf({ operation: 'vendor' })).toBeUndefined();
  });
});

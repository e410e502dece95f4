import { describe, expect, it } from '@jest/globals';
import { readAnswer } from '../../../lib/mcp/authorization/answer.ts';
import type { Json } from '../../../lib/core/json-rpc.ts';

const callback = (answer: Json): unknown => {
  const read = readAnswer(answer, 'alpha');
  return read.kind === 'callback' ? [Object.fromEntries(read.params), read.bare] : read;
};

describe('the answer of a host', () => {
  it.each([
    [{ token: 't' }, { kind: 'token', token: 't' }],
    [{ url: 'http://localhost/cb?code=c&state=s&iss=i' }, [{ code: 'c', state: 's', iss: 'i' }, false]],
    [{ url: new URL('app://cb?error=access_denied&state=s') }, [{ error: 'access_denied', state: 's' }, false]],
    [{ searchParams: new URLSearchParams('code=c') }, [{ code: 'c' }, false]],
    [{ searchParams: '?code=c&state=s' }, [{ code: 'c', state: 's' }, false]],
    [{ code: 'c' }, [{ code: 'c' }, true]],
    [{ code: 'c', state: 's', iss: 'i', other: 'x' }, [{ code: 'c', state: 's', iss: 'i' }, true]],
  ])('%j is read', (answer, read) => {
    expect(callback(answer as Json)).toEqual(read);
  });

  it.each([[{}], [{ token: '' }], [{ token: 3 }], [{ url: 'nowhere s3cret' }], [{ code: '' }], [{ searchParams: 4 }]])('%j is none', (answer) => {
    expect(() => readAnswer(answer, 'alpha')).toThrow(expect.objectContaining({ code: 'invalid_request', server: 'alpha' }) as unknown as Error);
    expect(() => readAnswer(answer, 'alpha')).not.toThrow(/s3cret/);
  });
});

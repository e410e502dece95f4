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
    [
      { url: new URL('app://cb?error=access_denied&state=s') },
      [{ error: 'access_denied', state: 's' }, false],
    ],
    [{ searchParams: new URLSearchParams('code=c') }, [{ code: 'c' }, false]],
    [{ searchParams: '?code=c&state=s' }, [{ code: 'c', state: 's' }, false]],
    [{ code: 'c' }, [{ code: 'c' }, true]],
    [{ code: 'c', state: 's', iss: 'i', other: 'x' }, [{ code: 'c', state: 's', iss: 'i' }, true]],
  ])('%j is read', (answer, read) => {
    expect(callback(answer as Json)).toEqual(read);
  });

  it.each([
    [{}],
    [{ token: '' }],
    [{ token: 3 }],
    [{ url: 'nowhere s3cret' }],
    [{ code: '' }],
    [{ searchParams: 4 }],
  ])('%j is none', (answer) => {
    let error: unknown;
    try {
      readAnswer(answer, 'alpha');
    } catch (cause) {
      error = cause;
    }
    expect(error).toMatchObject({ code: 'invalid_request', server: 'alpha' });
    expect((error as Error).message).not.toMatch(/s3cret/);
  });
});

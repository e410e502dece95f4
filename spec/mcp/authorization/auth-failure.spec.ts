import {
  AuthorizationServerMismatchError,
  InsecureTokenEndpointError,
  IssuerMismatchError,
  OAuthError,
  OAuthErrorCode,
} from '@modelcontextprotocol/client';
import { describe, expect, it } from '@jest/globals';
import { authFailure } from '../../../lib/mcp/authorization/auth-failure.ts';
import { TroupeError } from '../../../lib/core/errors.ts';

describe('what ends a round with an authorization server', () => {
  it.each([
    [
      new OAuthError(OAuthErrorCode.InvalidClient, 'who?'),
      'auth_required',
      { reason: 'authorization_failed', error: 'invalid_client' },
    ],
    [
      new IssuerMismatchError('authorization_response', 'https://a', 'https://b'),
      'denied',
      { reason: 'issuer' },
    ],
    [new AuthorizationServerMismatchError('https://a', 'https://b'), 'denied', { reason: 'issuer' }],
    [new InsecureTokenEndpointError('http://a/token'), 'denied', { reason: 'issuer' }],
    [
      new TypeError('fetch failed', { cause: { code: 'ECONNREFUSED' } }),
      'unavailable',
      { reason: 'authorization_server' },
    ],
    [
      new TypeError('"pkcs8" must be PKCS#8 formatted string'),
      'auth_required',
      { reason: 'authorization_failed' },
    ],
    [new Error('anything'), 'auth_required', { reason: 'authorization_failed' }],
  ])('%s is %s', (error, code, data) => {
    expect(authFailure(error, 'alpha')).toMatchObject({ code, server: 'alpha', data, cause: error });
  });

  it('is the error of ours that lies under it', () => {
    const denied = new TroupeError('denied', 'private', { data: { reason: 'private_address' } });
    for (const error of [denied, new Error('wrapped', { cause: denied })]) {
      expect(authFailure(error, 'alpha')).toMatchObject({
        code: 'denied',
        server: 'alpha',
        data: { reason: 'private_address' },
      });
    }
  });
});

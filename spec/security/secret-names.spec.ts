import { describe, expect, it } from '@jest/globals';
import { isSecretName } from '../../lib/security/secret-names.ts';

describe('names of secrets', () => {
  it.each([
    'authorization',
    'Proxy-Authorization',
    'x-api-key',
    'API_KEY',
    'apiKey',
    'GITHUB_TOKEN',
    'access_token',
    'refreshToken',
    'client_secret',
    'password',
    'db.password',
    'Cookie',
    'set-cookie',
    'privateKey',
    'passphrase',
    'code_verifier',
  ])('%s is one', (name) => {
    expect(isSecretName(name)).toBe(true);
    expect(isSecretName(name)).toBe(true);
  });

  it.each([
    'message',
    'tokens',
    'maxTokens',
    'progressToken',
    'nextPageToken',
    'key',
    'author',
    'secretary',
    '',
    '__proto__',
  ])('%p is none', (name) => {
    expect(isSecretName(name)).toBe(false);
  });
});

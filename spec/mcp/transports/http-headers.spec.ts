import { describe, expect, it } from '@jest/globals';
import {
  configuredHeaders,
  isModernRevision,
  namedRevision,
  pushGivenHeaders,
  pushMirrorHeaders,
  withHeaders,
} from '../../../lib/mcp/transports/http-headers.ts';

const URL_PLAIN = new URL('https://mcp.example/');

function mirrored(
  method: string,
  params?: Record<string, unknown>,
  given?: Record<string, string>,
): string[] {
  const headers: string[] = [];
  pushMirrorHeaders(headers, method, params, given);
  return headers;
}

describe('configured headers', () => {
  it('are in lower case, with a user agent, without those that are ours', () => {
    const headers = configuredHeaders(
      URL_PLAIN,
      { 'X-Key': 'k', Accept: '*/*', 'MCP-Session-Id': 's', 'User-Agent': 'me' },
      'alpha',
    );
    expect(headers).toEqual(['user-agent', 'me', 'x-key', 'k']);
    expect(configuredHeaders(URL_PLAIN, {}, 'alpha')).toEqual(['user-agent', 'mcp-troupe']);
  });

  it('win over the user part of the URL', () => {
    const url = new URL('https://me:p%40ss@mcp.example/');
    expect(configuredHeaders(url, {}, 'alpha')).toContain(
      `Basic ${Buffer.from('me:p@ss').toString('base64')}`,
    );
    expect(configuredHeaders(url, { Authorization: 'Bearer t' }, 'alpha').slice(2)).toEqual([
      'authorization',
      'Bearer t',
    ]);
  });

  it('do not show their value when they are refused', () => {
    expect(() => configuredHeaders(URL_PLAIN, { 'x-key': 's3cret\n' }, 'alpha')).toThrow(
      /^(?!.*s3cret).*headers\.x-key/,
    );
  });
});

describe('credential headers', () => {
  it('replace those of the same name, and cannot touch ours', () => {
    const base = ['accept', 'a', 'authorization', 'old', 'mcp-session-id', 's'];
    expect(withHeaders(base, { Authorization: 'new', DPoP: 'd', Host: 'evil' })).toEqual([
      'accept',
      'a',
      'mcp-session-id',
      's',
      'authorization',
      'new',
      'dpop',
      'd',
    ]);
    expect(withHeaders(base, undefined)).toEqual(base);
  });
});

describe('the revision', () => {
  it('is what the message names', () => {
    expect(namedRevision({ _meta: { 'io.modelcontextprotocol/protocolVersion': '2026-07-28' } })).toBe(
      '2026-07-28',
    );
    expect(namedRevision({ _meta: { 'io.modelcontextprotocol/protocolVersion': 7 } })).toBeUndefined();
    expect(namedRevision({ _meta: null })).toBeUndefined();
    expect(namedRevision(undefined)).toBeUndefined();
  });

  it('is modern from 2026 on', () => {
    expect(['2024-11-05', '2025-11-25', '2026-07-28', '2027-01-01'].map(isModernRevision)).toEqual([
      false,
      false,
      true,
      true,
    ]);
  });
});

describe('mirrored headers', () => {
  it.each([
    ['tools/call', { name: 'echo' }, ['mcp-method', 'tools/call', 'mcp-name', 'echo']],
    ['prompts/get', { name: 'p' }, ['mcp-method', 'prompts/get', 'mcp-name', 'p']],
    ['resources/read', { uri: 'file:///a' }, ['mcp-method', 'resources/read', 'mcp-name', 'file:///a']],
    ['tasks/get', { taskId: 't' }, ['mcp-method', 'tasks/get', 'mcp-name', 't']],
    ['tools/call', { name: 7 }, ['mcp-method', 'tools/call']],
    ['tools/list', { name: 'x' }, ['mcp-method', 'tools/list']],
    ['constructor', {}, ['mcp-method', 'constructor']],
    [
      'tools/call',
      { name: 'a\r\nx: y' },
      ['mcp-method', 'tools/call', 'mcp-name', `=?base64?${Buffer.from('a\r\nx: y').toString('base64')}?=`],
    ],
  ])('of %s %p', (method, params, expected) => {
    expect(mirrored(method, params)).toEqual(expected);
  });

  it('give way to given ones, but for those that are ours', () => {
    expect(
      mirrored(
        'tools/call',
        { name: 'echo' },
        { 'Mcp-Name': 'n', Authorization: 'x', 'Mcp-Session-Id': 's', 'Mcp-Param-A': '1' },
      ),
    ).toEqual(['mcp-name', 'n', 'mcp-param-a', '1', 'mcp-method', 'tools/call']);
    const headers: string[] = [];
    pushGivenHeaders(headers, { Cookie: 'c', 'X-A': '1' });
    expect(headers).toEqual(['x-a', '1']);
  });
});

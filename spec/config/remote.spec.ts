import { describe, expect, it } from '@jest/globals';
import type { HttpPlace } from '../../lib/config/config.ts';
import { isLoopback } from '../../lib/config/remote.ts';
import { invalidAt, resolved, serverRefusal } from '../support/config-expectations.ts';

const where = (server: unknown): unknown => resolved(server).replicas[0]?.where;
const http = (server: unknown): HttpPlace => where(server) as HttpPlace;

describe('an address', () => {
  it.each([
    [{ url: 'https://h/mcp' }, 'auto'],
    [{ serverUrl: 'https://h/mcp' }, 'auto'],
    [{ httpUrl: 'https://h/mcp' }, 'auto'],
    [{ type: 'remote', url: 'https://h/mcp' }, 'auto'],
    [{ type: 'http', url: 'https://h/mcp' }, 'streamable-http'],
    [{ type: 'streamable-http', url: 'https://h/mcp' }, 'streamable-http'],
    [{ type: 'streamableHttp', url: 'https://h/mcp' }, 'streamable-http'],
    [{ transportType: 'streamable_http', url: 'https://h/mcp' }, 'streamable-http'],
    [{ type: 'sse', url: 'https://h/mcp' }, 'sse'],
    [{ url: 'https://h/mcp', serverUrl: 'https://h/mcp' }, 'auto'],
    [{ url: new URL('https://h/mcp') }, 'auto'],
  ])('%j is http, %s', (server, flavour) => {
    expect(http(server)).toMatchObject({ kind: 'http', flavour });
    expect(http(server).url.href).toBe('https://h/mcp');
  });

  it.each([{ url: 'wss://h/' }, { type: 'ws', url: 'wss://h/' }, { type: 'websocket', url: 'wss://h/' }])(
    '%j is a WebSocket',
    (server) => {
      expect(where(server)).toMatchObject({ kind: 'websocket' });
    },
  );

  it('carries headers under lower-case names', () => {
    const { headers } = http({
      url: 'https://h',
      headers: { Authorization: ' Bearer x ', 'X-N': 3, gone: null },
    });
    expect({ ...headers }).toEqual({ authorization: 'Bearer x', 'x-n': '3' });
  });

  it('turns credentials of the address into a header of its origin', () => {
    const place = http({ url: 'https://me:p%40ss@h/mcp#part' });
    expect(place.url.href).toBe('https://h/mcp');
    expect(place.headers['authorization']).toBe(`Basic ${Buffer.from('me:p@ss').toString('base64')}`);
  });

  it.each([
    [{ url: 'nonsense' }, 'url', /no address/],
    [{ url: '' }, 'url', /no address/],
    [{ url: 3 }, 'url', /is 3/],
    [{ url: 'ftp://h' }, 'url', /ftp:/],
    [{ url: 'unix:///run/x.sock' }, 'url', /unix:/],
    [{ url: 'https://a', serverUrl: 'https://b' }, 'serverUrl', /differs/],
    [{ type: 'ws', url: 'https://h' }, 'type', /means http/],
    [{ type: 'http', url: 'wss://h' }, 'type', /means websocket/],
    [{ type: 'stdio', url: 'https://h' }, 'type', /means http/],
    [{ url: 'https://h', args: ['x'] }, 'args', /no meaning beside url/],
    [{ url: 'https://h', env: { A: '1' } }, 'env', /no meaning/],
    [{ url: 'https://h', headers: { 'a b': 'x' } }, 'headers.a b', /no name of a header/],
    [{ url: 'https://h', headers: { a: 'x\r\nb: y' } }, 'headers.a', /line break/],
    [{ url: 'https://h', headers: { a: 'x\n' } }, 'headers.a', /line break/],
    [{ url: 'https://h', headers: { a: '→' } }, 'headers.a', /cannot carry/],
    [{ url: 'https://h', headers: { a: 'x', A: 'y' } }, 'headers.A', /twice/],
    [{ url: 'https://h', headers: { a: [] } }, 'headers.a', /list/],
    [{ url: 'https://h', headers: 'x' }, 'headers', /string/],
    [{ url: 'https://h', headers: { 'Mcp-Session-Id': 'x' } }, 'headers.Mcp-Session-Id', /set by the engine/],
    [{ url: 'https://h', headers: { 'Content-Length': 1 } }, 'headers.Content-Length', /set by the engine/],
    [{ url: 'https://me:x@h', headers: { authorization: 'y' } }, 'url', /credentials beside/],
    [{ url: 'https://m%zz:x@h' }, 'url', /percent-encoded/],
  ])('refuses %j at %s', (server, field, problem) => {
    expect(serverRefusal(server)).toEqual(invalidAt(field, problem));
  });

  it('keeps an address that cannot be read out of the error: it may carry a key', () => {
    const error = serverRefusal({ url: 'https://?key=hunter2' });
    expect(error).toEqual(invalidAt('url'));
    expect(JSON.stringify(error) + error.stack + String(error.cause)).not.toContain('hunter2');
  });

  it.each([
    'http://localhost:1',
    'http://127.0.0.1',
    'http://127.1',
    'http://0x7f.1',
    'http://[::1]:2',
    'http://a.localhost',
    'ws://localhost',
  ])('accepts %s without encryption', (url) => {
    expect(where({ url })).toBeDefined();
  });

  it.each([
    'http://h',
    'http://10.0.0.1',
    'http://localhost.evil.example',
    'http://128.0.0.1',
    'ws://h',
    'http://0.0.0.0',
    'http://127.0.0.1.example',
  ])('refuses %s unless allowInsecure', (url) => {
    expect(serverRefusal({ url })).toEqual(invalidAt('url', /plain/, /allowInsecure/));
    expect(where({ url, allowInsecure: true })).toBeDefined();
  });

  it('knows loopback in the notations of WHATWG URL', () => {
    expect(isLoopback(new URL('http://[::ffff:127.0.0.1]').hostname)).toBe(true);
    expect(isLoopback(new URL('http://[::ffff:8.8.8.8]').hostname)).toBe(false);
    expect(isLoopback(new URL('http://2130706433').hostname)).toBe(true);
    expect(isLoopback('localhost.')).toBe(true);
  });
});

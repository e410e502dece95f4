import { describe, expect, it } from '@jest/globals';
import {
  RefusalBody,
  mediaType,
  redirectTarget,
  redirected,
  refused,
  retryAfterMs,
  saysSessionLost,
} from '../../../lib/mcp/transports/http-refusal.ts';

const NOW = Date.UTC(2026, 10, 1, 12, 0, 0);

describe('Retry-After', () => {
  it.each([
    ['3', 3_000],
    ['0', 0],
    ['1.5', 1_500],
    [' 2 ', 2_000],
    ['31536000', 60_000],
    ['Sun, 01 Nov 2026 12:00:05 GMT', 5_000],
    ['Sun, 01 Nov 2026 11:00:00 GMT', 0],
    ['Mon, 01 Nov 2100 12:00:00 GMT', 60_000],
    ['soon', undefined],
    ['', undefined],
    [undefined, undefined],
  ])('%p is %p ms', (value, expected) => {
    expect(retryAfterMs(value === undefined ? {} : { 'retry-after': value }, NOW)).toEqual(expected);
  });
});

describe('media type', () => {
  it.each([
    ['application/json', 'application/json'],
    ['Application/JSON; charset=utf-8', 'application/json'],
    [' text/event-stream ;x', 'text/event-stream'],
    [undefined, ''],
  ])('of %p is %p', (value, expected) => {
    expect(mediaType(value === undefined ? {} : { 'content-type': value })).toBe(expected);
  });
});

describe('the body of a refusal', () => {
  it('is read as far as it is of use: 2 KB of text, 64 KB of JSON', () => {
    const page = new RefusalBody({ 'content-type': 'text/html' });
    expect(page.push(Buffer.from('aaa '.repeat(500)))).toBe(true);
    expect(page.push(Buffer.from('aaa '.repeat(500)))).toBe(false);
    expect(page.text()).toHaveLength(2_048);
    const json = new RefusalBody({ 'content-type': 'application/json' });
    expect(json.push(Buffer.from('aaa '.repeat(15_000)))).toBe(true);
    expect(json.push(Buffer.from('aaa '.repeat(15_000)))).toBe(false);
    expect(json.text()).toHaveLength(65_536);
  });

  it('is plain text of bounded length in the error', () => {
    const error = refused(
      'alpha',
      { status: 500, headers: {}, text: `\u001b[31m${'x'.repeat(60_000)}\n` },
      NOW,
    );
    expect(error.message.length).toBeLessThan(2_200);
    expect(error.message).toContain('\\u001b[31m');
  });
});

describe('a lost session', () => {
  it.each([
    [404, '', true],
    [400, 'Bad Request: No valid session ID provided', true],
    [400, 'invalid params', false],
    [410, 'session', false],
    [500, 'session', false],
  ])('HTTP %i %p: %p', (status, text, expected) => {
    expect(saysSessionLost({ status, headers: {}, text })).toBe(expected);
  });
});

describe('redirects', () => {
  const from = new URL('https://a.example/mcp');

  it.each([
    [307, '/x#y', 'https://a.example/x'],
    [301, 'https://b.example/', 'https://b.example/'],
    [304, '/x', undefined],
    [200, '/x', undefined],
    [302, 'http://[', undefined],
    [302, undefined, undefined],
  ])('%i to %p leads to %p', (status, location, expected) => {
    expect(redirectTarget(from, status, location === undefined ? {} : { location })?.href).toBe(expected);
  });

  it('are told without query and user, which may hold secrets', () => {
    const error = redirected('alpha', 302, new URL('https://u:p@b.example/login?token=t'));
    expect(error.message).toContain('https://b.example/login,');
    expect(JSON.stringify(error)).not.toMatch(/token|u:p/);
  });
});

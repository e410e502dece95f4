import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, it } from '@jest/globals';
import { OBJECT_ORIGIN, type At } from '../../lib/config/fields.ts';
import { absolute, checkDirectory, expanded, fileText, readingOfObject } from '../../lib/config/reading.ts';
import { invalidAt, refusal } from '../support/config-expectations.ts';

const folder = mkdtempSync(join(tmpdir(), 'troupe-reading-'));
afterAll(() => rmSync(folder, { recursive: true }));
const at: At = { origin: OBJECT_ORIGIN, server: 's', base: [], path: ['f'] };
const reading = readingOfObject(undefined);

describe('reading', () => {
  it('starts relative paths at the base', () => {
    expect(absolute('a/b', { ...reading, base: folder })).toBe(join(folder, 'a', 'b'));
    expect(absolute(resolve('/x'), reading)).toBe(resolve('/x'));
  });

  it('expands, or leaves what was expanded before', () => {
    expect(expanded('${MISSING:-x}', at, reading)).toBe('x');
    expect(expanded('${MISSING:-x}', at, { ...reading, scope: undefined })).toBe('${MISSING:-x}');
    expect(refusal(() => expanded('${TROUPE_MISSING}', at, reading))).toEqual(
      invalidAt('f', /TROUPE_MISSING/),
    );
  });

  it('reads small files only', () => {
    const file = join(folder, 'file');
    writeFileSync(file, 'text');
    expect(fileText(file, at)).toBe('text');
    truncateSync(file, 2 * 1024 * 1024);
    expect(refusal(() => fileText(file, at))).toEqual(invalidAt('f', /larger than 1 MiB/));
    expect(refusal(() => fileText(folder, at))).toEqual(invalidAt('f', /not a file/));
    expect(refusal(() => fileText(join(file, 'below'), at))).toEqual(invalidAt('f', /does not exist/));
  });

  it('tells a directory from what is none', () => {
    expect(() => checkDirectory(folder, at)).not.toThrow();
    expect(refusal(() => checkDirectory(join(folder, 'none'), at))).toEqual(invalidAt('f', /does not exist/));
  });
});

import { sep } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { expand, inputIds, Unexpandable, type Scope } from '../../lib/config/interpolate.ts';

const scope: Scope = {
  env: { A: 'a', EMPTY: '', NESTED: '${A}', lower: 'low', 'ProgramFiles(x86)': 'pf' },
  inputs: new Map([['key', '${A}']]),
  userHome: '/home/u',
  workspaceFolder: '/w/project',
  bare: 'all',
};

describe('expand', () => {
  it.each([
    ['plain', 'plain'],
    ['${env:A}', 'a'],
    ['${A}', 'a'],
    ['x${A}y${A}z', 'xayaz'],
    ['${MISSING:-d}', 'd'],
    ['${env:MISSING:-d}', 'd'],
    ['${EMPTY:-d}', 'd'],
    ['${EMPTY}', ''],
    ['${A:-d}', 'a'],
    ['${MISSING:-}', ''],
    ['${MISSING:-${A}}', 'a'],
    ['${MISSING:-${OTHER:-x}}y', 'xy'],
    ['${MISSING:-http://h:1/}', 'http://h:1/'],
    ['${env:ProgramFiles(x86)}', 'pf'],
    ['${input:key}', '${A}'],
    ['${NESTED}', '${A}'],
    ['${userHome}', '/home/u'],
    ['${workspaceFolder}', '/w/project'],
    ['${workspaceFolderBasename}', 'project'],
    ['${/}', sep],
    ['${pathSeparator}', sep],
    ['$${A}', '${A}'],
    ['$$${A}', '$${A}'],
    ['$A {A}', '$A {A}'],
    ['${A', '${A'],
    ['${', '${'],
    ['${process.pid}', '${process.pid}'],
    ['${}', '${}'],
  ])('%s → %s', (text, result) => {
    expect(expand(text, scope)).toBe(result);
  });

  it.each([
    ['${MISSING}', /MISSING, which is not set/, /MISSING:-/],
    ['${env:MISSING}', /MISSING, which is not set/, /set it/],
    ['${__proto__}', /__proto__, which is not set/, /set it/],
    ['${input:nobody}', /input "nobody"/, /inputs: \{ "nobody"/],
    ['${command:pick}', /only its own host/, /value itself/],
    ['${workspaceFolder:other}', /only its own host/, /value itself/],
  ])('refuses %s', (text, problem, remedy) => {
    const env = Object.assign(Object.create(null) as object, scope.env) as Record<string, string>;
    const run = (): string => expand(text, { ...scope, env });
    expect(run).toThrow(Unexpandable);
    expect(run).toThrow(problem);
    expect(() => {
      try {
        run();
      } catch (error) {
        throw new Error((error as Unexpandable).remedy, { cause: error });
      }
    }).toThrow(remedy);
  });

  it('leaves templates of scripts alone in objects of a program', () => {
    const object: Scope = { ...scope, bare: 'upper-case' };
    expect(expand('`${name}` ${lower} ${lower:-d} ${A} ${env:A}', object)).toBe('`${name}` ${lower} low a a');
  });

  it('stops at a nesting that no one writes', () => {
    const deep = '${MISSING:-'.repeat(20) + 'x' + '}'.repeat(20);
    expect(() => expand(deep, scope)).toThrow(/too deeply/);
  });

  it('takes time in proportion to the text', () => {
    const hostile = ['${'.repeat(100_000), '${A:-'.repeat(50_000), '$${'.repeat(50_000), '}'.repeat(100_000)];
    const started = performance.now();
    for (const text of hostile) expand(text, scope);
    expect(performance.now() - started).toBeLessThan(2_000);
  });

  it('returns any text without ${ as it is', () => {
    fc.assert(
      fc.property(
        fc.string().filter((text) => !text.includes('${')),
        (text) => {
          expect(expand(text, scope)).toBe(text);
        },
      ),
    );
  });

  it('brings back any text whose ${ were doubled', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('${', '}', 'A', 'x', ':-', ' '), { maxLength: 20 }), (parts) => {
        const text = parts.join('');
        expect(
          expand(
            text.replaceAll('${', () => '$${'),
            scope,
          ),
        ).toBe(text);
      }),
    );
  });

  it('finds the inputs a text asks for', () => {
    expect(inputIds('${input:a}-${X:-${input:b c}}-${env:input}')).toEqual(['a', 'b c']);
  });
});

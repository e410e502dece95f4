import { describe, expect, it } from '@jest/globals';
import { childEnvironment } from '../../lib/config/environment.ts';

const host = { PATH: '/bin', HOME: '/home/u', SECRET: 's', LANG: 'C', SHELL: '() { :; }' };
const child = (
  env: Record<string, string | null>,
  inheritEnv: 'safe' | 'all' | string[],
  platform: NodeJS.Platform = 'linux',
): object => ({
  ...childEnvironment({ env, inheritEnv }, host, platform),
});

describe('childEnvironment', () => {
  it('inherits what a program needs to run, and no secrets', () => {
    expect(child({}, 'safe')).toEqual({ PATH: '/bin', HOME: '/home/u' });
  });

  it('inherits more where it is asked to, never an exported function', () => {
    expect(child({}, ['LANG', 'MISSING'])).toEqual({ PATH: '/bin', HOME: '/home/u', LANG: 'C' });
    expect(child({}, 'all')).toEqual({ PATH: '/bin', HOME: '/home/u', SECRET: 's', LANG: 'C' });
  });

  it('puts what is configured on top; null takes away', () => {
    expect(child({ HOME: '/other', A: '1', PATH: null }, 'safe')).toEqual({ HOME: '/other', A: '1' });
  });

  it('knows that names have no case on Windows', () => {
    expect(child({ Path: 'c:\\x' }, 'safe', 'win32')).toEqual({ Path: 'c:\\x' });
    expect(child({ path: null }, 'safe', 'win32')).toEqual({});
    expect(child({ Path: 'x' }, 'safe')).toMatchObject({ PATH: '/bin', Path: 'x' });
  });

  it('carries a variable called __proto__', () => {
    const env = Object.assign(
      Object.create(null) as Record<string, string>,
      JSON.parse('{"__proto__":"x"}') as object,
    );
    expect(Object.entries(childEnvironment({ env, inheritEnv: 'safe' }, {}, 'linux'))).toEqual([
      ['__proto__', 'x'],
    ]);
  });
});

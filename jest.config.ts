/** @jest-config-loader esbuild-register */
import type { Config } from 'jest';

const config: Config = {
  testEnvironment: 'node',
  roots: ['<rootDir>/spec'],
  testMatch: ['**/*.spec.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        swcrc: false,
        jsc: { parser: { syntax: 'typescript' }, target: 'es2023' },
        module: { type: 'es6' },
      },
    ],
  },
  injectGlobals: false,
  restoreMocks: true,
  // Real processes on a busy machine: a test that hangs is found all the same, one that waits for its turn is no failure.
  testTimeout: 30_000,
  maxWorkers: '100%',
  workerIdleMemoryLimit: '400MB',
  collectCoverageFrom: ['lib/**/*.ts'],
  coverageDirectory: 'coverage',
  coverageProvider: 'babel',
  coverageReporters: ['text-summary', 'lcov'],
  reporters: ['default', '<rootDir>/spec/support/tally-reporter.mjs'],
};

export default config;

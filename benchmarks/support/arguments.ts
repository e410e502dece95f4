import { parseArgs, type ParseArgsConfig } from 'node:util';

/** What stands on the command line; what makes no sense ends the program with exit code 2 and one sentence. */
export function readArguments<T extends ParseArgsConfig>(config: T): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs(config);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exit(2);
  }
}

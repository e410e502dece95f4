/** What was asked for makes no sense: exit code 2 and one sentence. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

import { TroupeError, errorText, isError, isTroupeError } from '../../core/errors.ts';

/** Of a flow that was refused because somebody may be in the middle: nothing of ours was sent there. */
const MISTRUST: ReadonlySet<string> = new Set([
  'IssuerMismatchError',
  'AuthorizationServerMismatchError',
  'InsecureTokenEndpointError',
]);

/** What ended a round with an authorization server, as an error of ours. */
export function authFailure(error: unknown, server: string): TroupeError {
  const known = ours(error);
  if (known !== undefined) return known.server === undefined ? known.with({ server }) : known;
  const name = isError(error) ? error.constructor.name : '';
  const text = errorText(error);
  if (MISTRUST.has(name) || MISTRUST.has((error as Error | undefined)?.name ?? '')) {
    return new TroupeError('denied', `the authorization server is not trusted: ${text}`, {
      server,
      data: { reason: 'issuer' },
      cause: error,
    });
  }
  if (isUnreached(error)) {
    return new TroupeError(
      'unavailable',
      `the authorization server cannot be reached: ${networkText(error)}`,
      {
        server,
        data: { reason: 'authorization_server' },
        cause: error,
      },
    );
  }
  const code = (error as { code?: unknown } | undefined)?.code;
  return new TroupeError('auth_required', `no authorization could be obtained: ${text}`, {
    server,
    data: { reason: 'authorization_failed', ...(typeof code === 'string' ? { error: code } : {}) },
    cause: error,
  });
}

function ours(error: unknown): TroupeError | undefined {
  if (isTroupeError(error)) return error;
  const cause = isError(error) ? error.cause : undefined;
  return isTroupeError(cause) ? cause : undefined;
}

/** Node says with a `TypeError` that nobody could be reached; a key that cannot be read is one too. */
function isUnreached(error: unknown): error is TypeError {
  return (
    error instanceof TypeError &&
    (error.cause !== undefined || /fetch failed|terminated|answered HTTP/.test(error.message))
  );
}

function networkText(error: Error): string {
  const cause = error.cause;
  return cause === undefined
    ? error.message
    : `${error.message} (${(cause as { code?: string }).code ?? errorText(cause)})`;
}

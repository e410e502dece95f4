import type { BadInput } from './case.ts';
import { CONFIG_CASES } from './config.ts';
import { CREDENTIAL_CASES } from './credentials.ts';
import { HOST_CASES } from './host.ts';
import { SERVER_CASES } from './servers.ts';

/** Everything that somebody may get wrong: whoever configures, whoever calls, who issues credentials, who serves. */
export const BAD_INPUT: readonly BadInput[] = [
  ...CONFIG_CASES,
  ...HOST_CASES,
  ...CREDENTIAL_CASES,
  ...SERVER_CASES,
];

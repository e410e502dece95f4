/** Names, or ends of names, whose value is a secret; compared in lower case and without `-`, `_`, `.` and spaces. */
const ENDINGS: readonly string[] = [
  'authorization',
  'cookie',
  'token',
  'password',
  'passwd',
  'passphrase',
  'secret',
  'apikey',
  'accesskey',
  'privatekey',
  'secretkey',
  'signingkey',
  'encryptionkey',
  'credential',
  'credentials',
  'clientassertion',
  'codeverifier',
];

/** Names that end so and are none: the progress and page tokens of protocols. */
const HARMLESS: ReadonlySet<string> = new Set(['progresstoken', 'pagetoken', 'nextpagetoken']);

const MEMORY = 512;
const remembered = new Map<string, boolean>();

/** `Authorization`, `x-api-key`, `GITHUB_TOKEN`, `clientSecret` and their like. */
export function isSecretName(name: string): boolean {
  const known = remembered.get(name);
  if (known !== undefined) return known;
  const plain = name.toLowerCase().replaceAll(/[-_. ]/g, '');
  const secret = !HARMLESS.has(plain) && ENDINGS.some((ending) => plain.endsWith(ending));
  if (name.length <= 64) {
    if (remembered.size >= MEMORY) remembered.clear();
    remembered.set(name, secret);
  }
  return secret;
}

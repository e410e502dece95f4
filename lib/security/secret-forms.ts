/** Shortest secret that is looked for, in characters: a shorter one would blank ordinary words. */
export const MIN_SECRET_LENGTH = 8;

/**
 * The ways in which a secret may stand in a text: as it is, escaped for JSON once and twice, percent-encoded, and in
 * base64 and base64url, alone or in the middle of something longer (`Basic` credentials).
 */
export function formsOf(secret: string): ReadonlySet<string> {
  const forms = new Set<string>([secret]);
  const once = JSON.stringify(secret).slice(1, -1);
  forms.add(once);
  forms.add(JSON.stringify(once).slice(1, -1));
  for (const encoded of percentForms(secret)) forms.add(encoded);
  const bytes = Buffer.from(secret, 'utf8');
  for (let offset = 0; offset < 3; offset++) {
    const middle = base64Middle(bytes, offset);
    if (middle.length < MIN_SECRET_LENGTH) continue;
    forms.add(middle);
    forms.add(middle.replaceAll('+', '-').replaceAll('/', '_'));
  }
  forms.add(bytes.toString('base64'));
  forms.add(bytes.toString('base64url'));
  return forms;
}

function percentForms(secret: string): string[] {
  // Lone surrogates become U+FFFD, as on the wire; the encoders throw at them.
  const sound = Buffer.from(secret, 'utf8').toString('utf8');
  const component = encodeURIComponent(sound);
  const form = new URLSearchParams([['', secret]]).toString().slice(1);
  const strict = component.replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  const inUrl = encodeURI(sound);
  return [component, form, strict, inUrl].flatMap((text) => [
    text,
    text.replace(/%[0-9A-F]{2}/g, (code) => code.toLowerCase()),
  ]);
}

/** The characters of base64 that depend on the secret alone when it begins at this offset of a group of three bytes. */
function base64Middle(bytes: Buffer, offset: number): string {
  const text = Buffer.concat([Buffer.alloc(offset), bytes])
    .toString('base64')
    .replace(/=+$/, '');
  const skip = offset === 0 ? 0 : offset + 1;
  const spill = (offset + bytes.length) % 3 === 0 ? 0 : 1;
  return text.slice(skip, text.length - spill);
}

import { X509Certificate } from 'node:crypto';
import { invalid, type At } from './fields.ts';

const MARK = /(-*)(BEGIN|END) ((?:X509 |TRUSTED )?CERTIFICATE)(-*)/g;
const DASHES = '-----';

/**
 * A bundle of authorities or a chain, every certificate of it readable. TLS itself stops at the first that is not and takes
 * the ones before it, without a word. Throws `config_invalid` naming which one it is; what else stands between them is left alone.
 */
export function checkedCertificates(text: string, at: At): string {
  // Without any dash it is a word in a comment.
  const marks = [...text.matchAll(MARK)].filter(([, before, , , after]) => before !== '' || after !== '');
  const begun = marks.filter(([, , what]) => what === 'BEGIN').length;
  const count = Math.max(begun, marks.length - begun);
  if (count === 0) throw invalid(at, 'holds no certificate', 'give "-----BEGIN CERTIFICATE-----" …');
  const damaged = (number: number, how: string): Error =>
    invalid(at, `certificate ${number} of ${count} ${how}`, 'replace it, or leave it out');
  let number = 0;
  for (let i = 0; i < marks.length; i += 2) {
    number += 1;
    const [begin, end] = [marks[i], marks[i + 1]];
    if (begin?.[2] !== 'BEGIN' || !isWhole(begin)) throw damaged(number, 'has no beginning');
    if (end?.[2] !== 'END' || !isWhole(end) || end[3] !== begin[3]) throw damaged(number, 'has no end');
    if (!isReadable(text.slice(begin.index, end.index + end[0].length))) throw damaged(number, 'is damaged');
  }
  return text;
}

function isWhole([, before, , , after]: RegExpMatchArray): boolean {
  return before === DASHES && after === DASHES;
}

function isReadable(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}

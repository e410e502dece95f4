import { Buffer } from 'node:buffer';
import { checkedCertificates } from './certificates.ts';
import type { TlsConfig } from './config.ts';
import { below, invalid, kindOf, type At, type Fields } from './fields.ts';
import { absolute, expanded, fileText, type Reading } from './reading.ts';

export function readTls(parent: Fields, allowInsecure: boolean, reading: Reading): TlsConfig | undefined {
  const fields = parent.fields('tls');
  if (fields === undefined) return undefined;
  const ca = readAuthorities(fields, reading);
  const cert = readPem(fields, 'cert', 'certFile', reading);
  const key = readPem(fields, 'key', 'keyFile', reading);
  if ((cert === undefined) !== (key === undefined)) {
    const missing = cert === undefined ? 'cert' : 'key';
    throw invalid(fields.place(missing), 'is missing', 'give certificate and key together');
  }
  if (cert !== undefined)
    checkedCertificates(cert, fields.place(fields.get('cert') === undefined ? 'certFile' : 'cert'));
  const rejectUnauthorized = fields.boolean('rejectUnauthorized') ?? true;
  if (!rejectUnauthorized && !allowInsecure) {
    throw invalid(
      fields.place('rejectUnauthorized'),
      'is false, so that anybody may answer in place of the server',
      'give the certificate of its authority as ca, or set allowInsecure: true',
    );
  }
  const passphrase = fields.text('passphrase');
  const tls: TlsConfig = {
    ca,
    cert,
    key,
    passphrase:
      passphrase === undefined ? undefined : expanded(passphrase, fields.place('passphrase'), reading),
    servername: fields.text('servername'),
    rejectUnauthorized,
  };
  fields.nothingElse();
  return Object.freeze(tls);
}

function readAuthorities(fields: Fields, reading: Reading): readonly string[] | undefined {
  const written = fields.get('ca');
  const given = Array.isArray(written) ? (written as unknown[]) : written === undefined ? [] : [written];
  const texts = given.map((item, i) => {
    const at = Array.isArray(written) ? below(fields.place('ca'), i) : fields.place('ca');
    return checkedCertificates(pem(item, at, reading), at);
  });
  const file = pemFile(fields, 'caFile', reading);
  if (file !== undefined) texts.push(checkedCertificates(file, fields.place('caFile')));
  return texts.length === 0 ? undefined : Object.freeze(texts);
}

function readPem(fields: Fields, key: string, fileKey: string, reading: Reading): string | undefined {
  const value = fields.get(key);
  const file = pemFile(fields, fileKey, reading);
  if (value === undefined) return file;
  if (file !== undefined) throw invalid(fields.place(fileKey), `stands beside ${key}`, 'keep one of the two');
  return pem(value, fields.place(key), reading);
}

function pemFile(fields: Fields, key: string, reading: Reading): string | undefined {
  const name = fields.text(key);
  if (name === undefined) return undefined;
  const at = fields.place(key);
  return checkedPem(fileText(absolute(expanded(name, at, reading), reading), at), at);
}

function pem(value: unknown, at: At, reading: Reading): string {
  if (typeof value === 'string') return checkedPem(expanded(value, at, reading), at);
  if (value instanceof Uint8Array) return checkedPem(Buffer.from(value).toString('utf8'), at);
  throw invalid(at, `is ${kindOf(value)}`, 'give PEM text');
}

function checkedPem(text: string, at: At): string {
  if (text.includes('-----BEGIN ')) return text;
  throw invalid(at, 'is no PEM text', 'give "-----BEGIN …" text, or its path as caFile, certFile or keyFile');
}

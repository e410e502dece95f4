import { createHash, createHmac } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { errorText, isError } from '../core/errors.ts';
import { isJson } from '../core/json-rpc.ts';

/** What was accepted: a fingerprint, and the readable text behind it, to show what has changed. */
export interface Pin {
  readonly fingerprint: string;
  readonly text: string;
}

export interface ServerPins {
  /** How the server is started or reached. */
  readonly launch: Pin | undefined;
  readonly tools: ReadonlyMap<string, Pin>;
}

export interface PinDocument {
  readonly servers: ReadonlyMap<string, ServerPins>;
  /** Servers whose pins are there and cannot be trusted, with the reason. */
  readonly damaged: ReadonlyMap<string, string>;
  /** The document as a whole was unreadable, now or before: whoever has no pins may have had some. */
  readonly lost: string | undefined;
}

const VERSION = 1;

/** Checksum, or with a key an HMAC: then nobody without it can accept anything by editing the file. */
function sealOf(server: string, body: string, key: KeyObject | undefined): string {
  const text = `${VERSION}\n${server.length}:${server}\n${body}`;
  return (key === undefined ? createHash('sha256') : createHmac('sha256', key)).update(text).digest('hex');
}

export function encodePins(document: Omit<PinDocument, 'damaged'>, key: KeyObject | undefined): string {
  const servers = [...document.servers].map(([server, pins]) => {
    const tools = [...pins.tools].map(([name, { fingerprint, text }]) => [name, fingerprint, text]);
    const body = JSON.stringify({ launch: pins.launch ?? null, tools });
    return { server, body, seal: sealOf(server, body, key) };
  });
  return `${JSON.stringify({ version: VERSION, ...(document.lost === undefined ? {} : { lost: document.lost }), servers }, null, 1)}\n`;
}

/** Never throws: what cannot be read is named in `damaged` or `lost`, and nothing of it is believed. */
export function decodePins(read: () => string | undefined, key: KeyObject | undefined): PinDocument {
  const servers = new Map<string, ServerPins>();
  const damaged = new Map<string, string>();
  try {
    const text = read();
    if (text === undefined) return { servers, damaged, lost: undefined };
    const document: unknown = JSON.parse(text);
    if (!isJson(document) || document['version'] !== VERSION || !Array.isArray(document['servers'])) {
      throw new SyntaxError('this is no document of pins');
    }
    const { lost } = document as { lost?: unknown };
    for (const entry of document['servers'] as unknown[]) {
      const { server, body, seal } = (isJson(entry) ? entry : {}) as {
        server?: unknown;
        body?: unknown;
        seal?: unknown;
      };
      if (typeof server !== 'string') throw new SyntaxError('an entry names no server');
      try {
        if (servers.has(server)) throw new SyntaxError('the server stands there twice');
        if (typeof body !== 'string' || sealOf(server, body, key) !== seal)
          throw new SyntaxError('the seal does not fit');
        servers.set(server, decodeServer(body));
      } catch (error) {
        servers.delete(server);
        damaged.set(server, errorText(error));
      }
    }
    return { servers, damaged, lost: typeof lost === 'string' ? lost : undefined };
  } catch (error) {
    return { servers: new Map(), damaged: new Map(), lost: isError(error) ? error.message : String(error) };
  }
}

function decodeServer(body: string): ServerPins {
  const { launch, tools } = JSON.parse(body) as { launch: unknown; tools: unknown };
  if (!Array.isArray(tools)) throw new SyntaxError('the list of tools is missing');
  return {
    launch: launch === null ? undefined : decodePin(launch),
    tools: new Map(
      (tools as unknown[]).map((entry) => {
        const [name, fingerprint, text] = Array.isArray(entry) ? (entry as unknown[]) : [];
        if (typeof name !== 'string') throw new SyntaxError('a tool has no name');
        return [name, decodePin({ fingerprint, text })];
      }),
    ),
  };
}

function decodePin(value: unknown): Pin {
  const { fingerprint, text } = (isJson(value) ? value : {}) as { fingerprint?: unknown; text?: unknown };
  if (typeof fingerprint !== 'string' || typeof text !== 'string')
    throw new SyntaxError('a pin is incomplete');
  return { fingerprint, text };
}

import type { RequestId } from '../../core/json-rpc.ts';
import { endOfNest, endOfString } from './depth.ts';

/** How much of each end of a message that is not parsed is looked at for its id, bytes. */
export const GLANCE_BYTES = 1024;

/**
 * Whether the JSON object in `text` has a member `id` at its top level, without parsing it; exact for valid JSON, also
 * where the key is written with escapes. An array (a batch) has one when it may hold a message that has. What is not
 * valid JSON may be told to have none.
 */
export function mayHaveId(text: string): boolean {
  if (!text.includes('"id"') && !text.includes(ESCAPED_LETTER)) return false;
  const start = skipSpace(text, 0);
  if (text[start] === '[') return true;
  let found = false;
  eachMember(text, (key) => {
    found = key === 'id';
    return !found;
  });
  return found;
}

/** The letters `i` and `d` can be written as `\u0069` and `\u0064`. */
const ESCAPED_LETTER = '\\u006';

/**
 * The id of a response of which only the ends are looked at; undefined when it is not recognisably a response. Servers
 * built on the official SDK write the id behind the result, hence the tail.
 */
export function responseId(head: string, tail: string): RequestId | undefined {
  let id: RequestId | undefined;
  let isResponse = false;
  let isRequest = false;
  eachMember(head, (key, value) => {
    if (key === 'id') id = primitiveAt(head, value);
    else if (key === 'result' || key === 'error') isResponse = true;
    else if (key === 'method') isRequest = true;
    return !isRequest;
  });
  if (isRequest || !isResponse) return undefined;
  return id ?? idAtEnd(tail);
}

// The `}` that ends the text closes the message, so what stands right before it is a member of the message itself; a
// quote within a string would have a backslash before it.
const ID_AT_END =
  /[,{]\s*"id"\s*:\s*("(?:[^"\\]|\\.){0,256}"|-?\d{1,20})\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$/;

function idAtEnd(tail: string): RequestId | undefined {
  const written = ID_AT_END.exec(tail)?.[1];
  return written === undefined ? undefined : asId(written);
}

function primitiveAt(text: string, start: number): RequestId | undefined {
  const end = endOfPrimitive(text, start);
  return end === -1 ? undefined : asId(text.slice(start, end));
}

function asId(written: string): RequestId | undefined {
  try {
    const id: unknown = JSON.parse(written);
    return typeof id === 'string' || typeof id === 'number' ? id : undefined;
  } catch {
    return undefined;
  }
}

/** Calls `visit` with each top-level key and the index of its value until it answers false or the text makes no sense. */
function eachMember(text: string, visit: (key: string, value: number) => boolean): void {
  let at = skipSpace(text, 0);
  if (text[at] !== '{') return;
  do {
    at = skipSpace(text, at + 1);
    if (text[at] !== '"') return;
    const keyEnd = endOfString(text, at);
    if (keyEnd === -1) return;
    const written = text.slice(at + 1, keyEnd);
    const key = written.includes('\\') ? asId(`"${written}"`) : written;
    at = skipSpace(text, keyEnd + 1);
    if (text[at] !== ':') return;
    at = skipSpace(text, at + 1);
    if (!visit(String(key), at)) return;
    at = endOfValue(text, at);
    if (at === -1) return;
    at = skipSpace(text, at);
  } while (text[at] === ',');
}

/** Index behind the value at `start`, or -1 when the text ends within it. */
function endOfValue(text: string, start: number): number {
  const first = text[start];
  if (first !== '{' && first !== '[') return endOfPrimitive(text, start);
  const end = endOfNest(text, start);
  return end === -1 ? -1 : end + 1;
}

function endOfPrimitive(text: string, start: number): number {
  if (text[start] === '"') {
    const end = endOfString(text, start);
    return end === -1 ? -1 : end + 1;
  }
  for (let at = start; at < text.length; at += 1) {
    const code = text[at];
    if (code === ',' || code === '}' || code === ']' || isSpace(text, at)) return at;
  }
  return -1;
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (isSpace(text, at)) at += 1;
  return at;
}

function isSpace(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
}

import { isJson, type Json } from '../../core/json-rpc.ts';

/** Which advertised capability a method needs. Methods that are not listed need none. */
const NEEDS: Readonly<Record<string, readonly [string, string?]>> = {
  'tools/list': ['tools'],
  'tools/call': ['tools'],
  'resources/list': ['resources'],
  'resources/templates/list': ['resources'],
  'resources/read': ['resources'],
  'resources/subscribe': ['resources', 'subscribe'],
  'resources/unsubscribe': ['resources', 'subscribe'],
  'prompts/list': ['prompts'],
  'prompts/get': ['prompts'],
  'completion/complete': ['completions'],
  'logging/setLevel': ['logging'],
};

/** Revisions before 2025-03-26 have no `completions` capability: whoever has prompts or resources may complete. */
const COMPLETIONS_SINCE = '2025-03-26';

export function supportsMethod(capabilities: Json, method: string, protocolVersion: string): boolean {
  const need = NEEDS[method];
  if (need === undefined) return true;
  const [name, detail] = need;
  if (name === 'completions' && protocolVersion < COMPLETIONS_SINCE) {
    return isJson(capabilities['prompts']) || isJson(capabilities['resources']);
  }
  const capability = capabilities[name];
  if (!isJson(capability)) return false;
  return detail === undefined || capability[detail] === true;
}

export function announcesListChanges(
  capabilities: Json,
  feature: 'tools' | 'resources' | 'prompts',
): boolean {
  const capability = capabilities[feature];
  return isJson(capability) && capability['listChanged'] === true;
}

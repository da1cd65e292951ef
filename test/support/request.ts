import { type ChangeRequest, requestHash } from '../../src/lib/requests.ts';

/** A change as a test asks for it: one effect per key. */
export function request(key: string, content: unknown = key): ChangeRequest {
  return { key, scope: 'test', hash: requestHash(content), requestId: null, actor: 'test' };
}

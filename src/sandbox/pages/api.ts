import { StripeError } from '../errors.ts';
import { findRoute } from '../http/routes.ts';
import type { World } from '../world.ts';

/** Parameters as a client would send them: text, lists and objects of text. */
type Param = string | Param[] | { [name: string]: Param };

/**
 * The Portal does what a person asks by the same route a program would call, with its checks and its
 * events; only the HTTP between is missing.
 */
export function callApi(
  world: World,
  method: 'POST' | 'DELETE',
  path: string,
  params: Record<string, Param>,
): object {
  const found = findRoute(method, path);
  if (found === undefined) throw new StripeError(404, 'invalid_request_error', `No such route: ${path}`);
  const [id = '', subId = ''] = found.ids;
  return found.route.prepare(params)({ world, id, subId, path, version: null });
}

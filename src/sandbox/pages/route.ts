import type { World } from '../world.ts';
import { type PageAnswer, showCheckout, submitCheckout } from './checkout.ts';
import { document, html } from './html.ts';
import { showPortal, submitPortal } from './portal.ts';

const NOT_FOUND: PageAnswer = {
  status: 404,
  html: document('Not found', html`<h1>There is nothing here</h1>`),
};

/** The hosted pages; undefined when the path is none of theirs. */
export function pageAnswer(
  world: World,
  method: string,
  path: string,
  form: Record<string, unknown>,
): PageAnswer | undefined {
  const checkout = /^\/c\/pay\/([^/]+)$/.exec(path);
  if (checkout !== null) {
    const session = world.state.sessions.get(checkout[1] ?? '');
    if (session === undefined) return NOT_FOUND;
    return method === 'POST' ? submitCheckout(world, session, form) : showCheckout(world, session);
  }
  if (!path.startsWith('/p/session/')) return undefined;
  const portal = [...world.state.portalSessions.values()].find((one) => new URL(one.url).pathname === path);
  if (portal === undefined) return NOT_FOUND;
  return method === 'POST' ? submitPortal(world, portal, form) : showPortal(world, portal);
}

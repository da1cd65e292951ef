import type { World } from '../world.ts';
import { type PageAnswer, showCheckout, submitCheckout } from './checkout.ts';
import { document, html } from './html.ts';
import { authenticationPage, invoicePage } from './payment.ts';
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
  const answers = method === 'POST' ? form : null;
  const invoice = /^\/invoices\/([^/]+)$/.exec(path);
  if (invoice !== null) {
    const found = world.state.invoices.get(invoice[1] ?? '');
    return found === undefined ? NOT_FOUND : invoicePage(world, found, answers);
  }
  const authentication = /^\/3d_secure_2\/([^/]+)$/.exec(path);
  if (authentication !== null) {
    const intent = world.state.paymentIntents.get(authentication[1] ?? '');
    return intent === undefined ? NOT_FOUND : authenticationPage(world, intent, answers);
  }
  if (!path.startsWith('/p/session/')) return undefined;
  const portal = [...world.state.portalSessions.values()].find((one) => new URL(one.url).pathname === path);
  if (portal === undefined) return NOT_FOUND;
  return method === 'POST' ? submitPortal(world, portal, form) : showPortal(world, portal);
}

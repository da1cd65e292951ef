import { StripeError } from '../errors.ts';
import type { PortalSession } from '../wire.ts';
import type { World } from '../world.ts';
import { type Html, html, type PageAnswer, pageOf } from './html.ts';
import { link, note } from './parts.ts';
import { cancel, changeDetails, changePaymentMethod, changePlan, undo } from './portal-actions.ts';
import { homeView } from './portal-home.ts';
import { type Request, type View, type Visit, visitOf } from './portal-session.ts';
import { cancelView, confirmView, detailsView, paymentMethodView, updateView } from './portal-views.ts';

const SHOWS: Record<View, (visit: Visit) => Html> = {
  home: homeView,
  update: updateView,
  confirm: confirmView,
  cancel: cancelView,
  payment_method: paymentMethodView,
  details: detailsView,
};

const DOES: Record<NonNullable<Request['action']>, { act: (visit: Visit) => PageAnswer; view: View }> = {
  cancel: { act: cancel, view: 'cancel' },
  undo: { act: undo, view: 'home' },
  update: { act: changePlan, view: 'confirm' },
  payment_method: { act: changePaymentMethod, view: 'payment_method' },
  details: { act: changeDetails, view: 'details' },
};

/** A session with a flow opens on that step instead of the front page. */
function ofFlow({ session, asked }: Visit): Request {
  const { flow } = session;
  if (flow === null || asked.view !== undefined) return asked;
  const { subscription_cancel: ends, subscription_update: changes } = flow;
  const confirms = flow.subscription_update_confirm;
  if (ends !== null) return { ...asked, view: 'cancel', subscription: ends.subscription };
  if (changes !== null) return { ...asked, view: 'update', subscription: changes.subscription };
  if (confirms !== null) {
    const [item] = confirms.items;
    return {
      ...asked,
      view: 'confirm',
      subscription: confirms.subscription,
      ...(item?.price == null ? {} : { price: item.price }),
      ...(item?.quantity === undefined ? {} : { quantity: String(item.quantity) }),
    };
  }
  return { ...asked, view: flow.type === 'customer_update' ? 'details' : 'payment_method' };
}

function framed(visit: Visit, view: View, refusal?: StripeError): PageAnswer {
  const home = view === 'home';
  const back = home
    ? link(visit.session.return_url, '← Return')
    : html`<a class="back" href="${visit.path}?view=home">← Back</a>`;
  const body = html`<div class="narrow">${back}${note(refusal?.message, true)}${SHOWS[view](visit)}</div>`;
  return pageOf('Customer portal', body);
}

function confirmation(visit: Visit): PageAnswer | undefined {
  const after = visit.session.flow?.after_completion;
  if (visit.asked.done === undefined || after?.type !== 'hosted_confirmation') return undefined;
  const message = after.hosted_confirmation?.custom_message ?? 'Your changes have been saved.';
  return pageOf(
    'Done',
    html`<div class="narrow"><div class="card"><h1>Done</h1><p>${message}</p>${link(visit.session.return_url, 'Return', 'button')}</div></div>`,
  );
}

export function showPortal(world: World, session: PortalSession, fields: unknown): PageAnswer {
  const visit = visitOf(world, session, fields);
  const asked = ofFlow(visit);
  return confirmation(visit) ?? framed({ ...visit, asked }, asked.view ?? 'home');
}

export function submitPortal(world: World, session: PortalSession, fields: unknown): PageAnswer {
  const visit = visitOf(world, session, fields);
  const { action } = visit.asked;
  if (action === undefined)
    throw new StripeError(400, 'invalid_request_error', 'Unknown subscription or action', {
      param: 'action',
    });
  const { act, view } = DOES[action];
  try {
    return act(visit);
  } catch (error) {
    // The bank's or the API's reason, above the form, for another try.
    if (error instanceof StripeError && error.status === 402) return framed(visit, view, error);
    throw error;
  }
}

import { StripeError } from '../errors.ts';
import type { World } from '../world.ts';
import { showCheckout, submitCheckout } from './checkout.ts';
import { html, type PageAnswer, pageOf } from './html.ts';
import { authenticationPage, invoicePage, receiptPage } from './payment.ts';
import { showPortal, submitPortal } from './portal.ts';

/** On GET the query, on POST the form. */
type Fields = Record<string, unknown>;
type Page = (world: World, id: string, posted: boolean, fields: Fields) => PageAnswer | undefined;

const PAGES: readonly { pattern: RegExp; page: Page }[] = [
  {
    pattern: /^\/c\/pay\/([^/]+)$/,
    page: (world, id, posted, fields) => {
      const session = world.state.sessions.get(id);
      if (session === undefined) return undefined;
      return posted ? submitCheckout(world, session, fields) : showCheckout(world, session);
    },
  },
  {
    pattern: /^\/invoices\/([^/]+)(?:\/pdf)?$/,
    page: (world, id, posted, fields) => {
      const invoice = world.state.invoices.get(id);
      // A draft has no page yet; its URL is made when it is finalized.
      if (invoice === undefined || invoice.status === 'draft') return undefined;
      return invoicePage(world, invoice, posted ? fields : null);
    },
  },
  {
    pattern: /^\/3d_secure_2\/([^/]+)$/,
    page: (world, id, posted, fields) => {
      const intent = world.state.paymentIntents.get(id);
      return intent === undefined ? undefined : authenticationPage(world, intent, posted ? fields : null);
    },
  },
  {
    pattern: /^\/receipts\/([^/]+)$/,
    page: (world, id) => {
      const charge = world.state.charges.get(id);
      return charge === undefined ? undefined : receiptPage(charge);
    },
  },
  {
    pattern: /^\/p\/session\/([^/]+)$/,
    page: (world, token, posted, fields) => {
      const path = `/p/session/${token}`;
      const session = [...world.state.portalSessions.values()].find(
        (one) => new URL(one.url).pathname === path,
      );
      if (session === undefined) return undefined;
      return posted ? submitPortal(world, session, fields) : showPortal(world, session, fields);
    },
  },
];

const NOT_FOUND = pageOf(
  'Not found',
  html`<div class="narrow"><div class="card"><h1>There is nothing here</h1></div></div>`,
  404,
);

/** A refusal that no form expects is still something a person reads. */
function refused({ status, message }: StripeError): PageAnswer {
  return pageOf(
    'This did not work',
    html`<div class="narrow"><div class="card"><h1>This did not work</h1><p>${message}</p></div></div>`,
    status,
  );
}

/** The hosted pages; undefined when the path is none of theirs. */
export function pageAnswer(
  world: World,
  method: string,
  path: string,
  fields: Fields,
): PageAnswer | undefined {
  for (const { pattern, page } of PAGES) {
    const match = pattern.exec(path);
    if (match === null) continue;
    try {
      return page(world, match[1] ?? '', method === 'POST', fields) ?? NOT_FOUND;
    } catch (error) {
      if (error instanceof StripeError) return refused(error);
      throw error;
    }
  }
  return undefined;
}

import { z } from 'zod';
import {
  buildCreditNote,
  issueCreditNote,
  type NoteLine,
  type NoteRequest,
  voidCreditNote,
} from '../engine/credit-notes.ts';
import { invalid, missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import {
  cosmetic,
  inRange,
  integer,
  mergeMetadata,
  metadata,
  noParams,
  notModelled,
  pageParams,
  positive,
  text,
  timeRange,
} from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import type { CreditNote, Invoice } from '../wire.ts';
import type { World } from '../world.ts';
import { findInvoice } from './invoice-find.ts';

const createParams = z.strictObject({
  amount: integer.optional(),
  credit_amount: integer.optional(),
  effective_at: integer.optional(),
  email_type: cosmetic,
  invoice: text,
  lines: z
    .array(
      z.strictObject({
        amount: integer.optional(),
        description: text.optional(),
        invoice_line_item: text.optional(),
        metadata: metadata.optional(),
        quantity: positive.optional(),
        tax_amounts: notModelled,
        tax_rates: notModelled,
        type: z.enum(['custom_line_item', 'invoice_line_item']),
        unit_amount: integer.optional(),
        unit_amount_decimal: notModelled,
      }),
    )
    .optional(),
  memo: text.optional(),
  metadata: metadata.optional(),
  out_of_band_amount: integer.optional(),
  reason: z.enum(['duplicate', 'fraudulent', 'order_change', 'product_unsatisfactory']).optional(),
  refund_amount: integer.optional(),
  refunds: z
    .array(
      z.strictObject({
        amount_refunded: integer.optional(),
        payment_record_refund: notModelled,
        refund: text.optional(),
        type: z.enum(['refund']).optional(),
      }),
    )
    .optional(),
  shipping_cost: notModelled,
});
const listParams = z.strictObject({
  ...pageParams,
  created: timeRange.optional(),
  customer: text.optional(),
  customer_account: notModelled,
  invoice: text.optional(),
});
type Params = z.output<typeof createParams>;

export function findCreditNote(world: World, id: string): CreditNote {
  const note = world.state.creditNotes.get(id);
  if (note === undefined) throw missing('credit note', id);
  return note;
}

function lineOf(
  world: World,
  invoice: Invoice,
  given: NonNullable<Params['lines']>[number],
  index: number,
): NoteLine {
  const tags = mergeMetadata(null, given.metadata);
  if (given.type === 'custom_line_item') {
    const quantity = given.quantity ?? 1;
    const unitAmount = given.unit_amount ?? given.amount ?? 0;
    return {
      amount: unitAmount * quantity,
      description: given.description ?? null,
      quantity,
      unitAmount,
      line: null,
      metadata: tags,
    };
  }
  const lines = world.state.invoiceLines.get(invoice.id) ?? [];
  const line = lines.find((one) => one.id === given.invoice_line_item);
  if (line === undefined)
    throw missing('invoice line item', given.invoice_line_item ?? '', `lines[${index}][invoice_line_item]`);
  const unit = Math.round(line.amount / Math.max(1, line.quantity ?? 1));
  const quantity = given.quantity ?? (given.amount === undefined ? line.quantity : null);
  return {
    amount: given.amount ?? unit * (quantity ?? 1),
    description: given.description ?? line.description,
    quantity,
    unitAmount: given.amount === undefined ? unit : null,
    line,
    metadata: tags,
  };
}

/** Only an amount: it is spread over the invoice's lines from the first. */
function spread(world: World, invoice: Invoice, amount: number): NoteLine[] {
  let left = amount;
  const lines: NoteLine[] = [];
  for (const line of world.state.invoiceLines.get(invoice.id) ?? []) {
    const off = (line.discount_amounts ?? []).reduce((sum, one) => sum + one.amount, 0);
    const net = line.amount - off;
    const part = Math.min(left, net);
    if (net <= 0 || part <= 0) continue;
    left -= part;
    const gross = off === 0 ? part : Math.round((part * line.amount) / net);
    lines.push({
      amount: gross,
      description: line.description,
      quantity: null,
      unitAmount: null,
      line,
      metadata: {},
    });
  }
  if (left > 0)
    lines.push({
      amount: left,
      description: null,
      quantity: null,
      unitAmount: null,
      line: null,
      metadata: {},
    });
  return lines;
}

function requestOf(world: World, params: Params): NoteRequest {
  const invoice = findInvoice(world, params.invoice, 'invoice');
  if ((params.amount === undefined) === (params.lines === undefined))
    throw invalid('You must pass one of `amount` or `lines`.', {
      code: 'parameter_missing',
      param: 'amount',
    });
  const lines =
    params.lines?.map((line, index) => lineOf(world, invoice, line, index)) ??
    spread(world, invoice, params.amount ?? 0);
  const refunds = (params.refunds ?? []).map((one, index) => {
    const refund = world.state.refunds.get(one.refund ?? '');
    if (refund === undefined) throw missing('refund', one.refund ?? '', `refunds[${index}][refund]`);
    return { refund: refund.id, amount: one.amount_refunded ?? refund.amount };
  });
  return {
    invoice,
    lines,
    creditAmount: params.credit_amount ?? 0,
    refundAmount: params.refund_amount ?? 0,
    outOfBandAmount: params.out_of_band_amount ?? 0,
    refunds,
    reason: params.reason ?? null,
    memo: params.memo ?? null,
    metadata: mergeMetadata(null, params.metadata),
    effectiveAt: params.effective_at ?? null,
  };
}

export const creditNoteRoutes: Route[] = [
  route('POST', '/credit_notes', createParams, ({ world, params }) =>
    issueCreditNote(world, requestOf(world, params)),
  ),
  route('GET', '/credit_notes/preview', createParams, ({ world, params }) =>
    buildCreditNote(world, requestOf(world, params)),
  ),
  route(
    'GET',
    '/credit_notes/preview/lines',
    z.strictObject({ ...createParams.shape, ...pageParams }),
    ({ world, params, path }) => {
      const { limit, starting_after, ending_before, ...rest } = params;
      const { lines } = buildCreditNote(world, requestOf(world, rest));
      return page([...lines.data].reverse(), { limit, starting_after, ending_before }, path);
    },
  ),
  route('GET', '/credit_notes', listParams, ({ world, params, path }) =>
    page(
      world.state.creditNotes.values(),
      params,
      path,
      (one) =>
        inRange(one.created, params.created) &&
        (params.customer === undefined || one.customer === params.customer) &&
        (params.invoice === undefined || one.invoice === params.invoice),
    ),
  ),
  route('GET', '/credit_notes/:id', noParams, ({ world, id }) => findCreditNote(world, id)),
  route(
    'POST',
    '/credit_notes/:id',
    z.strictObject({ memo: text.optional(), metadata: metadata.optional() }),
    ({ world, params, id }) => {
      const note = findCreditNote(world, id);
      world.update('credit_note.updated', note, {
        memo: params.memo ?? note.memo,
        metadata: mergeMetadata(note.metadata, params.metadata),
      });
      return note;
    },
  ),
  route('POST', '/credit_notes/:id/void', noParams, ({ world, id }) => {
    const note = findCreditNote(world, id);
    voidCreditNote(world, note);
    return note;
  }),
  route('GET', '/credit_notes/:id/lines', z.strictObject(pageParams), ({ world, params, id, path }) =>
    page([...findCreditNote(world, id).lines.data].reverse(), params, path),
  ),
];

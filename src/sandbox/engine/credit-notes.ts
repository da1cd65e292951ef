import { invalid } from '../errors.ts';
import { newId } from '../ids.ts';
import type { Charge, CreditNote, CreditNoteLine, Invoice, InvoiceLine } from '../wire.ts';
import { countedList } from '../wire.ts';
import type { World } from '../world.ts';
import { moveBalance } from './balance.ts';
import { followRemaining, paidCharges } from './invoice-money.ts';
import { money } from './line-object.ts';
import { createRefund } from './refunds.ts';

export interface NoteLine {
  amount: number;
  description: string | null;
  quantity: number | null;
  unitAmount: number | null;
  line: InvoiceLine | null;
  metadata: Record<string, string>;
}

export interface NoteRequest {
  invoice: Invoice;
  lines: NoteLine[];
  creditAmount: number;
  refundAmount: number;
  outOfBandAmount: number;
  /** Refunds made beforehand that the note accounts for. */
  refunds: { refund: string; amount: number }[];
  reason: CreditNote['reason'];
  memo: string | null;
  metadata: Record<string, string>;
  effectiveAt: number | null;
}

function buildNoteLine({
  amount,
  description,
  quantity,
  unitAmount,
  line,
  metadata,
}: NoteLine): CreditNoteLine {
  const full = line?.amount ?? 0;
  const share = full > 0 ? amount / full : 0;
  const discounts = (line?.discount_amounts ?? []).map((one) => ({
    amount: Math.round(one.amount * share),
    discount: one.discount,
  }));
  return {
    id: newId('cnli'),
    object: 'credit_note_line_item',
    amount,
    description,
    discount_amount: discounts.reduce((sum, one) => sum + one.amount, 0),
    discount_amounts: discounts,
    ...(line === null ? {} : { invoice_line_item: line.id }),
    livemode: false,
    metadata,
    pretax_credit_amounts: discounts.map((one) => ({ ...one, type: 'discount' as const })),
    quantity,
    tax_rates: [],
    taxes: [],
    type: line === null ? 'custom_line_item' : 'invoice_line_item',
    unit_amount: unitAmount,
    unit_amount_decimal: unitAmount === null ? null : String(unitAmount),
  } satisfies CreditNoteLine;
}

const netOf = (lines: readonly CreditNoteLine[]): number =>
  lines.reduce((sum, line) => sum + line.amount - line.discount_amount, 0);

/** An open invoice is reduced; of a paid one the money goes back, to the customer's balance, or elsewhere. */
function check(world: World, request: NoteRequest, total: number): void {
  const { invoice } = request;
  if (invoice.status !== 'open' && invoice.status !== 'paid' && invoice.status !== 'uncollectible')
    throw invalid(
      `You can only create credit notes for invoices that are open, paid or uncollectible. This invoice is ${invoice.status}.`,
      { param: 'invoice' },
    );
  if (total <= 0) throw invalid('The credit note amount must be greater than 0.', { param: 'amount' });
  const credited = invoice.pre_payment_credit_notes_amount + invoice.post_payment_credit_notes_amount;
  if (invoice.status !== 'paid') {
    if (total > invoice.amount_remaining)
      throw invalid(
        `The credit note amount (${money(total, invoice.currency)}) is greater than the remaining amount of the invoice (${money(invoice.amount_remaining, invoice.currency)}).`,
        { param: 'amount' },
      );
    return;
  }
  if (total > invoice.total - credited)
    throw invalid(
      `The sum of credit notes (${money(total + credited, invoice.currency)}) can't exceed the amount paid on the invoice (${money(invoice.total, invoice.currency)}).`,
      { param: 'amount' },
    );
  const refunded = request.refunds.reduce((sum, one) => sum + one.amount, 0);
  const allocated = request.creditAmount + request.refundAmount + request.outOfBandAmount + refunded;
  if (allocated !== total)
    throw invalid(
      `The sum of credit amount, refund amount and out of band amount (${money(allocated, invoice.currency)}) must equal the post payment credit note amount (${money(total, invoice.currency)}).`,
    );
  if (request.refundAmount > paidCharges(world, invoice).reduce((sum, one) => sum + refundable(one), 0))
    throw invalid('The refund amount is greater than what can be refunded on the invoice.', {
      param: 'refund_amount',
    });
}

const refundable = (charge: Charge): number => charge.amount - charge.amount_refunded;

/** The note as it would be; a preview stops here. */
export function buildCreditNote(world: World, request: NoteRequest): CreditNote {
  const { invoice } = request;
  const lines = request.lines.map(buildNoteLine);
  const subtotal = lines.reduce((sum, line) => sum + line.amount, 0);
  const total = netOf(lines);
  check(world, request, total);
  const before = invoice.status !== 'paid';
  const id = newId('cn');
  const count = [...world.state.creditNotes.values()].filter((one) => one.invoice === invoice.id).length;
  const discounts = lines.flatMap((line) => line.discount_amounts);
  return {
    id,
    object: 'credit_note',
    amount: total,
    amount_shipping: 0,
    created: world.now(),
    currency: invoice.currency,
    customer: invoice.customer ?? '',
    customer_account: null,
    customer_balance_transaction: null,
    discount_amount: subtotal - total,
    discount_amounts: discounts,
    effective_at: request.effectiveAt ?? world.now(),
    invoice: invoice.id,
    lines: countedList(lines, `/v1/credit_notes/${id}/lines`),
    livemode: false,
    memo: request.memo,
    metadata: request.metadata,
    number: `${invoice.number ?? 'DRAFT'}-CN-${String(count + 1).padStart(2, '0')}`,
    out_of_band_amount: before || request.outOfBandAmount === 0 ? null : request.outOfBandAmount,
    pdf: `${world.baseUrl()}/credit_notes/${id}/pdf`,
    post_payment_amount: before ? 0 : total,
    pre_payment_amount: before ? total : 0,
    pretax_credit_amounts: discounts.map((one) => ({ ...one, type: 'discount' as const })),
    reason: request.reason,
    refunds: [],
    shipping_cost: null,
    status: 'issued',
    subtotal,
    subtotal_excluding_tax: subtotal,
    total,
    total_excluding_tax: total,
    total_taxes: [],
    type: before ? 'pre_payment' : 'post_payment',
    voided_at: null,
  } satisfies CreditNote;
}

export function issueCreditNote(world: World, request: NoteRequest): CreditNote {
  const { invoice } = request;
  const note = buildCreditNote(world, request);
  world.state.creditNotes.set(note.id, note);
  if (note.pre_payment_amount > 0) reduceOpen(world, invoice, note.pre_payment_amount);
  else giveBack(world, request, note);
  world.emit('credit_note.created', note);
  return note;
}

function reduceOpen(world: World, invoice: Invoice, amount: number): void {
  world.update('invoice.updated', invoice, {
    amount_due: invoice.amount_due - amount,
    amount_remaining: invoice.amount_remaining - amount,
    pre_payment_credit_notes_amount: invoice.pre_payment_credit_notes_amount + amount,
  });
  followRemaining(world, invoice);
}

function giveBack(world: World, request: NoteRequest, note: CreditNote): void {
  const { invoice } = request;
  const customer = world.state.customers.get(invoice.customer ?? '');
  if (request.creditAmount > 0 && customer !== undefined) {
    const moved = moveBalance(world, customer, {
      amount: -request.creditAmount,
      type: 'credit_note',
      currency: invoice.currency,
      invoice: invoice.id,
      creditNote: note.id,
    });
    note.customer_balance_transaction = moved?.id ?? null;
  }
  const given = request.refunds.map((one) => entry(one.refund, one.amount));
  let left = request.refundAmount;
  for (const charge of paidCharges(world, invoice)) {
    const amount = Math.min(left, refundable(charge));
    if (amount === 0) continue;
    left -= amount;
    given.push(entry(createRefund(world, charge, { amount, metadata: {} }).id, amount));
  }
  note.refunds = given;
  world.update('invoice.updated', invoice, {
    post_payment_credit_notes_amount: invoice.post_payment_credit_notes_amount + note.post_payment_amount,
  });
}

const entry = (refund: string, amount: number): CreditNote['refunds'][number] => ({
  amount_refunded: amount,
  payment_record_refund: null,
  refund,
  type: 'refund',
});

/** Only what has moved no money can be taken back. */
export function voidCreditNote(world: World, note: CreditNote): void {
  const invoice = world.state.invoices.get(note.invoice);
  if (note.status === 'void') throw invalid('This credit note is already void.');
  if (invoice === undefined || invoice.status === 'paid' || note.pre_payment_amount === 0)
    throw invalid('You can only void a credit note of an open invoice.');
  Object.assign(note, { status: 'void', voided_at: world.now() } satisfies Partial<CreditNote>);
  world.update('invoice.updated', invoice, {
    amount_due: invoice.amount_due + note.pre_payment_amount,
    amount_remaining: invoice.amount_remaining + note.pre_payment_amount,
    pre_payment_credit_notes_amount: invoice.pre_payment_credit_notes_amount - note.pre_payment_amount,
  });
  followRemaining(world, invoice);
  world.emit('credit_note.voided', note);
}

import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Harness, isoOf, startHarness } from '../harness.ts';
import { invoiceOf, subscribed } from './scenario.ts';

let harness: Harness;
beforeEach(async () => {
  harness = await startHarness();
});
afterEach(async () => {
  await harness.stop();
  expect(harness.errors).toEqual([]);
});

async function openInvoice(amount: number) {
  const { stripe } = harness;
  const customer = await stripe.customers.create({});
  await stripe.invoiceItems.create({ customer: customer.id, amount, currency: 'usd' });
  const draft = await stripe.invoices.create({
    customer: customer.id,
    pending_invoice_items_behavior: 'include',
  });
  return stripe.invoices.finalizeInvoice(draft.id!);
}

test('a credit note for a paid invoice refunds its charge and is counted on the invoice', async () => {
  const { stripe, receiver } = harness;
  const { id } = await subscribed(harness);
  const invoice = await invoiceOf(harness, id);
  receiver.take();
  const note = await stripe.creditNotes.create({
    invoice: invoice.id!,
    amount: 800,
    refund_amount: 500,
    credit_amount: 300,
  });
  expect(note).toMatchObject({
    total: 800,
    post_payment_amount: 800,
    pre_payment_amount: 0,
    type: 'post_payment',
  });
  expect(note.refunds.map((one) => one.amount_refunded)).toEqual([500]);
  const after = await stripe.invoices.retrieve(invoice.id!);
  expect(after).toMatchObject({ status: 'paid', post_payment_credit_notes_amount: 800 });
  const customer = await stripe.customers.retrieve(String(note.customer));
  expect(customer).toMatchObject({ balance: -300 });
  const moved = await stripe.customers.listBalanceTransactions(String(note.customer));
  expect(moved.data).toMatchObject([{ amount: -300, type: 'credit_note', credit_note: note.id }]);
  await harness.control('/delivery/settle');
  expect(receiver.take()).toEqual(
    expect.arrayContaining(['credit_note.created', 'refund.created', 'charge.refunded', 'refund.updated']),
  );
});

test('what a credit note gives back must add up, and cannot exceed what was paid', async () => {
  const { stripe } = harness;
  const { id } = await subscribed(harness);
  const invoice = (await invoiceOf(harness, id)).id!;
  const make = (amount: number, refund: number) =>
    stripe.creditNotes.create({ invoice, amount, refund_amount: refund });
  await expect(make(500, 400)).rejects.toMatchObject({ statusCode: 400 });
  await expect(make(2001, 2001)).rejects.toMatchObject({ param: 'amount' });
  await make(2000, 2000);
  await expect(make(1, 1)).rejects.toMatchObject({ statusCode: 400 });
});

test('a credit note for an open invoice reduces it, and voiding the note takes that back', async () => {
  const { stripe } = harness;
  const invoice = await openInvoice(3000);
  const line = invoice.lines.data[0]!.id;
  const note = await stripe.creditNotes.create({
    invoice: invoice.id!,
    lines: [{ type: 'invoice_line_item', invoice_line_item: line, amount: 1000 }],
  });
  expect(note).toMatchObject({ pre_payment_amount: 1000, type: 'pre_payment', status: 'issued' });
  expect(await stripe.invoices.retrieve(invoice.id!)).toMatchObject({
    amount_due: 2000,
    amount_remaining: 2000,
    pre_payment_credit_notes_amount: 1000,
  });
  await stripe.creditNotes.voidCreditNote(note.id);
  expect((await stripe.invoices.retrieve(invoice.id!)).amount_remaining).toBe(3000);
  await stripe.creditNotes.create({ invoice: invoice.id!, amount: 3000 });
  expect((await stripe.invoices.retrieve(invoice.id!)).status).toBe('paid');
});

test('a preview of a credit note leaves nothing behind', async () => {
  const { stripe } = harness;
  const invoice = await openInvoice(3000);
  const preview = await stripe.creditNotes.preview({ invoice: invoice.id!, amount: 700 });
  expect(preview.total).toBe(700);
  expect((await stripe.creditNotes.list({ invoice: invoice.id! })).data).toEqual([]);
  expect((await stripe.invoices.retrieve(invoice.id!)).amount_remaining).toBe(3000);
});

test('an adjusted balance pays the next invoice first, and every movement is listed', async () => {
  const { stripe } = harness;
  const { id, customer, items } = await subscribed(harness);
  await stripe.customers.createBalanceTransaction(String(customer), { amount: -1500, currency: 'usd' });
  await harness.advanceTo(isoOf(items.data[0]!.current_period_end + 2 * 3600));
  const invoice = await invoiceOf(harness, id);
  expect(invoice).toMatchObject({ total: 2000, amount_due: 500, starting_balance: -1500, ending_balance: 0 });
  const moved = await stripe.customers.listBalanceTransactions(String(customer));
  expect(moved.data.map((one) => [one.amount, one.type])).toEqual([
    [1500, 'applied_to_invoice'],
    [-1500, 'adjustment'],
  ]);
});

test('a refund can fail after it was announced, and the money can be refunded again', async () => {
  const { stripe, receiver, advance } = harness;
  const intent = await stripe.paymentIntents.create({
    amount: 1000,
    currency: 'usd',
    payment_method: 'pm_card_refundFail',
    confirm: true,
  });
  const refund = await stripe.refunds.create({ payment_intent: intent.id });
  expect(refund.status).toBe('succeeded');
  receiver.take();
  await advance(5);
  expect(await stripe.refunds.retrieve(refund.id)).toMatchObject({ status: 'failed' });
  expect((await stripe.charges.retrieve(String(intent.latest_charge))).amount_refunded).toBe(0);
  expect(receiver.take()).toContain('refund.failed');
});

test('a held payment is captured in part, and the rest goes back', async () => {
  const { stripe } = harness;
  const intent = await stripe.paymentIntents.create({
    amount: 1000,
    currency: 'usd',
    payment_method: 'pm_card_visa',
    capture_method: 'manual',
    confirm: true,
  });
  expect(intent).toMatchObject({ status: 'requires_capture', amount_capturable: 1000, amount_received: 0 });
  const captured = await stripe.paymentIntents.capture(intent.id, { amount_to_capture: 600 });
  expect(captured).toMatchObject({ status: 'succeeded', amount_received: 600, amount_capturable: 0 });
  expect(await stripe.charges.retrieve(String(intent.latest_charge))).toMatchObject({
    amount_captured: 600,
    amount_refunded: 400,
  });
});

test('evidence that wins in test mode closes the dispute and gives the money back', async () => {
  const { stripe } = harness;
  const intent = await stripe.paymentIntents.create({
    amount: 1000,
    currency: 'usd',
    payment_method: 'pm_card_createDispute',
    confirm: true,
  });
  const [dispute] = (await stripe.disputes.list({ payment_intent: intent.id })).data;
  await stripe.disputes.update(dispute!.id, { evidence: { uncategorized_text: 'winning_evidence' } });
  const closed = await stripe.disputes.retrieve(dispute!.id);
  expect(closed.status).toBe('won');
  expect(closed.balance_transactions.map((one) => one.amount)).toEqual([-1000, 1000]);
});

test('an invoice written off can be paid later', async () => {
  const { stripe } = harness;
  const invoice = await openInvoice(3000);
  const written = await stripe.invoices.markUncollectible(invoice.id!);
  expect(written.status).toBe('uncollectible');
  const paid = await stripe.invoices.pay(invoice.id!, { payment_method: 'pm_card_visa' });
  expect(paid).toMatchObject({ status: 'paid', amount_paid: 3000 });
});

test('an item added to a draft shows on it at once, and leaves with its deletion', async () => {
  const { stripe } = harness;
  const customer = await stripe.customers.create({});
  const draft = await stripe.invoices.create({ customer: customer.id, currency: 'usd' });
  const item = await stripe.invoiceItems.create({
    customer: customer.id,
    invoice: draft.id!,
    amount: 700,
    currency: 'usd',
  });
  expect((await stripe.invoices.retrieve(draft.id!)).total).toBe(700);
  await stripe.invoiceItems.update(item.id, { amount: 900 });
  expect((await stripe.invoices.retrieve(draft.id!)).total).toBe(900);
  await stripe.invoiceItems.del(item.id);
  expect((await stripe.invoices.retrieve(draft.id!)).lines.data).toEqual([]);
});

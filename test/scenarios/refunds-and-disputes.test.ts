// Money that goes back takes exactly its credits, through Stripe: refunds in any number, disputes, credit notes; what
// was spent is debt, and what comes back restores exactly what was taken (stripe.md B7, C2 15 to 17).
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { captureHold, placeHold, releaseHold } from '../../src/lib/holds.ts';
import { refund as refundConsumption } from '../../src/lib/refunds.ts';
import { request, type Service } from '../stripe/harness.ts';
import { editedStripe } from '../support/edited-stripe.ts';
import {
  chargeOf,
  closeDispute,
  debtOf,
  dispute,
  entriesOf,
  invoicesOf,
  lost,
  refund,
  type Scene,
  spend,
  startScene,
  subscribe,
} from './scene.ts';

let scene: Scene;
let service: Service;
beforeAll(async () => {
  scene = await startScene();
  service = scene.service;
});
beforeEach(() => service.settle(lost).then(() => undefined));
afterAll(() => scene.stop());

const credits = async (userId: string) => (await service.balance(userId)).credits;
/** While Stripe's answers are what `edit` makes of the sandbox's. */
async function withAnswers(
  edit: Parameters<typeof editedStripe>[1],
  work: () => Promise<unknown>,
): Promise<void> {
  const { stripe } = service.context;
  service.context.stripe = editedStripe(service.sandbox.url, edit);
  await work();
  service.context.stripe = stripe;
}
const twice = () => service.settle((all) => [...all, ...[...all].reverse()]);

test('cumulative refunds are not subtracted each time, and a repeated event takes nothing', async () => {
  const userId = await service.subscriber();
  for (const [amount, left] of [
    [500, 75],
    [500, 50],
    [700, 15],
    [300, 0],
  ] as const) {
    await refund(service, userId, amount);
    await twice();
    expect(await credits(userId)).toBe(left);
  }
  expect(await debtOf(service, userId)).toBe(0);
});

test('a payment refund takes the credits that it paid for, and no others', async () => {
  const userId = await service.signUp();
  await service.buy(userId, { pack: 'pack_50' });
  await service.buy(userId, { plan: 'pro' });
  await service.settle();
  await refund(service, userId);
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 50, top_up: 50 });
});

test('what was spent of a refunded payment is debt, which the next payment settles first', async () => {
  const userId = await service.subscriber();
  await spend(service, userId, 70);
  await refund(service, userId);
  await twice();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 0 });
  expect(await debtOf(service, userId)).toBe(70);
  await expect(spend(service, userId, 1)).rejects.toMatchObject({ code: 'insufficient_credits' });
  await service.advance(32);
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 30, allowance: 30 });
  expect(await debtOf(service, userId)).toBe(0);
});

test('a refund that fails afterwards gives back exactly what it took', async () => {
  const userId = await service.signUp();
  await subscribe(service, userId, {}, 'pm_card_refundFail');
  await service.settle();
  await spend(service, userId, 30);
  await refund(service, userId, 1600);
  await service.settle();
  expect([await credits(userId), await debtOf(service, userId)]).toEqual([0, 10]);
  await service.advance(1);
  await twice();
  expect([await credits(userId), await debtOf(service, userId)]).toEqual([70, 0]);
});

test('a pending refund counts from its beginning', async () => {
  const userId = await service.signUp();
  await subscribe(service, userId, {}, 'pm_card_pendingRefund');
  await service.settle();
  expect((await refund(service, userId, 1000)).status).toBe('pending');
  await service.settle();
  expect(await credits(userId)).toBe(50);
  await service.advance(1);
  await service.settle();
  expect(await credits(userId)).toBe(50);
});

test('refund and dispute together take at most what was paid', async () => {
  const userId = await service.subscriber();
  await refund(service, userId, 1500);
  const id = await dispute(service, userId, { amount: 2000 });
  await twice();
  expect([await credits(userId), await debtOf(service, userId)]).toEqual([0, 0]);
  await closeDispute(service, id, 'won');
  await twice();
  expect(await credits(userId)).toBe(25);
});

test('a dispute that is won restores in credits exactly what its opening took, and a later refund sees it', async () => {
  const userId = await service.subscriber();
  await spend(service, userId, 40);
  const id = await dispute(service, userId);
  await service.settle();
  expect([await credits(userId), await debtOf(service, userId)]).toEqual([0, 40]);
  await closeDispute(service, id, 'won');
  await twice();
  expect([await credits(userId), await debtOf(service, userId)]).toEqual([60, 0]);
  await closeDispute(service, id, 'won').catch(() => undefined);
  const entries = await entriesOf(service, userId);
  await service.settle();
  expect(await entriesOf(service, userId)).toBe(entries);
});

test('a dispute that is lost stays taken, once', async () => {
  const userId = await service.subscriber();
  const id = await dispute(service, userId);
  await twice();
  const entries = await entriesOf(service, userId);
  await closeDispute(service, id, 'lost');
  await twice();
  expect([await credits(userId), await debtOf(service, userId)]).toEqual([0, 0]);
  expect(await entriesOf(service, userId)).toBe(entries);
});

test('the events of a dispute may come in any order', async () => {
  const userId = await service.subscriber();
  const id = await dispute(service, userId);
  await closeDispute(service, id, 'won');
  await service.settle((all) => [...all].reverse());
  expect(await credits(userId)).toBe(100);
});

test('an inquiry moves no money and no credits, whatever its end', async () => {
  const userId = await service.subscriber();
  const entries = await entriesOf(service, userId);
  const id = await dispute(service, userId, { inquiry: true });
  await service.settle();
  expect(await credits(userId)).toBe(100);
  await closeDispute(service, id, 'lost');
  await service.settle();
  expect(await credits(userId)).toBe(100);
  expect(await entriesOf(service, userId)).toBe(entries);
});

test('a restored payment gives back debt that a later grant had settled', async () => {
  const userId = await service.subscriber();
  await spend(service, userId, 100);
  const id = await dispute(service, userId);
  await service.settle();
  expect(await debtOf(service, userId)).toBe(100);
  await service.buy(userId, { pack: 'pack_50' });
  await service.settle();
  expect([await credits(userId), await debtOf(service, userId)]).toEqual([0, 50]);
  await closeDispute(service, id, 'won');
  await twice();
  expect([await credits(userId), await debtOf(service, userId)]).toEqual([50, 0]);
  expect(await service.balance(userId)).toMatchObject({ top_up: 50 });
});

test('a pack is taken back like a plan, in parts of its own payment', async () => {
  const userId = await service.signUp();
  await service.buy(userId, { pack: 'pack_50' });
  await service.settle();
  await spend(service, userId, 45);
  await refund(service, userId, 400);
  await twice();
  // 20 of the 50; of the free credits 5 were spent first, of the pack 40.
  expect([await credits(userId), await debtOf(service, userId)]).toEqual([0, 10]);
});

test('of an annual payment every month that has landed gives its share, the later ones land smaller', async () => {
  const userId = await service.subscriber('pro', 'year');
  await service.advance(40);
  await service.settle();
  await refund(service, userId, 10_000);
  await twice();
  // The first month expired unused, which covers its half.
  expect([await credits(userId), await debtOf(service, userId)]).toEqual([50, 0]);
  await service.advance(31);
  await service.settle();
  expect(await credits(userId)).toBe(50);
});

test('credits that expired unused make no debt', async () => {
  const userId = await service.subscriber();
  await spend(service, userId, 30);
  const charge = (await chargeOf(service, userId)).id;
  await service.advance(32);
  await service.settle();
  await service.stripe.refunds.create({ charge, amount: 1400 });
  await twice();
  expect([await credits(userId), await debtOf(service, userId)]).toEqual([100, 0]);
  await service.stripe.refunds.create({ charge });
  await twice();
  expect(await debtOf(service, userId)).toBe(30);
});

test('tokens that are held when the payment goes back are owed until they come back', async () => {
  const userId = await service.subscriber();
  const hold = await placeHold(service.context, { userId, credits: 40 }, request('hold'));
  await refund(service, userId);
  await service.settle();
  expect([await credits(userId), await debtOf(service, userId)]).toEqual([0, 40]);
  await releaseHold(service.context, String(hold.body.holdId), request('release'));
  expect([await credits(userId), await debtOf(service, userId)]).toEqual([0, 0]);
});

test('a hold that is captured after the payment went back stays owed; what is given back of it is not', async () => {
  const userId = await service.subscriber();
  const hold = await placeHold(service.context, { userId, credits: 40 }, request('hold'));
  await refund(service, userId);
  await service.settle();
  const captured = await captureHold(
    service.context,
    { holdId: String(hold.body.holdId), credits: 25 },
    request('capture'),
  );
  expect([await credits(userId), await debtOf(service, userId)]).toEqual([0, 25]);
  const entryId = String(captured.body.entryId);
  const back = { entryId, tokens: 10_000, reason: 'It failed.' };
  await refundConsumption(service.context, back, request('refund'));
  expect([await credits(userId), await debtOf(service, userId)]).toEqual([0, 20]);
});

test('a credit note counts as far as it was no refund: by refund, to the balance, out of band', async () => {
  const expected = [
    [{ amount: 500, refund_amount: 500 }, 75],
    [{ amount: 500, credit_amount: 500 }, 75],
    [{ amount: 500, out_of_band_amount: 500 }, 75],
    [{ amount: 1000, refund_amount: 400, credit_amount: 600 }, 50],
  ] as const;
  for (const [note, left] of expected) {
    const userId = await service.subscriber();
    const [invoice] = await invoicesOf(service, userId);
    await service.stripe.creditNotes.create({ invoice: invoice!.id!, ...note });
    await twice();
    expect(await credits(userId)).toBe(left);
  }
});

test('a credit note counts what was refunded outside Stripe, which is in no list of refunds', async () => {
  const userId = await service.subscriber();
  const [invoice] = await invoicesOf(service, userId);
  await service.stripe.creditNotes.create({ invoice: invoice!.id!, amount: 500, out_of_band_amount: 500 });
  await withAnswers(
    (path, { data }) => {
      if (path === '/v1/credit_notes')
        data[0].refunds = [{ amount_refunded: 500, refund: null, type: 'payment_record_refund' }];
    },
    () => service.settle(),
  );
  expect(await credits(userId)).toBe(75);
});

test('a pack whose session made an invoice is taken back by its session', async () => {
  const userId = await service.signUp();
  await service.buy(userId, { pack: 'pack_50' });
  await service.settle();
  const invoice = await service.stripe.invoices.create({ customer: await service.customerOf(userId) });
  const paid = { id: 'inpay_1', object: 'invoice_payment', invoice: invoice.id, status: 'paid' };
  await refund(service, userId, 500);
  await withAnswers(
    (path, body) => {
      if (path === '/v1/invoice_payments')
        body.data = [{ ...paid, amount_paid: 1000, payment: { type: 'payment_intent' } }];
    },
    () => service.settle(),
  );
  expect(await service.balance(userId)).toMatchObject({ top_up: 25 });
});

test('a credit note on an unpaid invoice lowers what is to be paid and takes no credits', async () => {
  const userId = await service.subscriber();
  await service.payments(userId, 'card_declined');
  await service.advance(32);
  await service.settle();
  const [invoice] = await invoicesOf(service, userId);
  const note = await service.stripe.creditNotes.create({ invoice: invoice!.id!, amount: 500 });
  await service.stripe.creditNotes.voidCreditNote(note.id);
  await service.stripe.creditNotes.create({ invoice: invoice!.id!, amount: 1000 });
  await service.settle();
  expect(await credits(userId)).toBe(100);
  await service.payments(userId, 'succeeds');
  await service.stripe.invoices.pay(invoice!.id!);
  await service.settle();
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 100, allowance: 100 });
});

test('a payment that went back before it was heard of is granted and taken, not forgotten', async () => {
  const userId = await service.signUp();
  await service.buy(userId, { plan: 'pro' });
  await refund(service, userId);
  await service.settle((all) => [...all].reverse());
  expect(await service.balance(userId)).toEqual({ plan: 'pro', credits: 0 });
  const { rows } = await service.context.pool.query(
    `select amount_tokens, claw_target_tokens from credit_grants where user_id = $1 and invoice_id is not null`,
    [userId],
  );
  expect(rows).toEqual([{ amount_tokens: 200_000, claw_target_tokens: 200_000 }]);
});

test('a subscription that was refunded and cancelled leaves nothing and owes what was spent', async () => {
  const userId = await service.subscriber();
  await spend(service, userId, 20);
  await service.stripe.subscriptions.cancel((await service.subscriptionOf(userId)).id);
  await refund(service, userId);
  await twice();
  expect(await service.balance(userId)).toEqual({ plan: 'free', credits: 0 });
  expect(await debtOf(service, userId)).toBe(20);
});

test('no invariant is violated by any of this', async () => {
  expect(await service.violations()).toEqual([]);
});

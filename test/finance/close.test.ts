// Three months with everything in them tie to nothing, chain, and stay as they were.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { addMonths } from '../../src/domain/period.ts';
import { type Close, closeCsv, closeMonth } from '../../src/finance/close.ts';
import { consume } from '../../src/lib/credits.ts';
import { grantCredits } from '../../src/lib/grants.ts';
import { request, Service } from '../stripe/harness.ts';
import { byHand } from './support.ts';

let service: Service;
beforeAll(async () => {
  service = await Service.start();
}, 60_000);
afterAll(() => service.stop());

const spend = (userId: string, credits: number) =>
  consume(service.context, { userId, credits }, request('consume'));
const monthOf = (date: Date): string => date.toISOString().slice(0, 7);
const next = (month: string): string => monthOf(addMonths(new Date(`${month}-01T00:00:00Z`), 1));
const users: Record<string, string> = {};

async function buyer(name: string, offer: Parameters<Service['buy']>[1]): Promise<string> {
  const userId = await service.signUp();
  users[name] = userId;
  await service.buy(userId, offer);
  await service.settle();
  return userId;
}

async function intentOf(userId: string): Promise<{ intent: string; charge: string }> {
  const { data } = await service.stripe.paymentIntents.list({ customer: await service.customerOf(userId) });
  return { intent: data[0]!.id, charge: data[0]!.latest_charge as string };
}

/** From here on pro is sold in euros. */
async function sellInEuros(): Promise<void> {
  const { data } = await service.stripe.prices.list({ lookup_keys: ['pro_monthly'] });
  await service.stripe.prices.create({
    product: data[0]!.product as string,
    currency: 'eur',
    unit_amount: 1999,
    recurring: { interval: 'month' },
    lookup_key: 'pro_monthly',
    transfer_lookup_key: true,
  });
}

function checkTies({ currencies, credits, lines, tokens, differences }: Close): void {
  expect(differences).toEqual([]);
  for (const { stripe, booked, unissued, deferred, differenceMinor } of currencies) {
    expect(differenceMinor).toBe(0);
    expect(stripe.paidMinor).toBe(booked.paidMinor - booked.paidEarlierMinor + stripe.bookedLaterMinor);
    expect(booked.boughtMinor + booked.noTokensMinor + booked.otherMinor).toBe(booked.paidMinor);
    expect(unissued.openingMinor + unissued.boughtMinor - unissued.issuedMinor - unissued.lapsedMinor).toBe(
      unissued.closingMinor,
    );
    const used =
      deferred.recognisedMinor + deferred.breakageMinor + deferred.voidedMinor + deferred.clawedMinor;
    expect(deferred.openingMinor + deferred.issuedMinor - used).toBe(deferred.closingMinor);
    expect(unissued.issuedMinor).toBe(deferred.issuedMinor);
  }
  for (const row of credits) {
    const left = row.consumedTokens + row.expiredTokens + row.voidedTokens + row.clawedTokens;
    expect(row.openingTokens + row.issuedTokens - left).toBe(row.closingTokens);
    expect(row.closingMinor).toBeGreaterThanOrEqual(0);
    if (row.closingTokens === 0) expect(row.closingMinor).toBe(0);
  }
  for (const line of lines) expect(line.closingMinor).toBeGreaterThanOrEqual(0);
  expect(tokens.closing - tokens.debt).toBe(tokens.ledger);
  expect(tokens.balances).toBe(tokens.ledger);
}

const closes: Close[] = [];

test('a month with everything in it ties to nothing', async () => {
  const month = monthOf(service.context.clock.now());
  await spend(await buyer('monthly', { plan: 'pro' }), 33);
  await spend(await buyer('annual', { plan: 'pro', interval: 'year' }), 7);
  await spend(await buyer('pack', { pack: 'pack_50' }), 12);
  const refunded = await buyer('refunded', { plan: 'pro' });
  await spend(refunded, 80);
  await service.stripe.refunds.create({ payment_intent: (await intentOf(refunded)).intent, amount: 1000 });
  const disputed = await buyer('disputed', { plan: 'pro' });
  await service.control(`/charges/${(await intentOf(disputed)).charge}/dispute`);
  await sellInEuros();
  await spend(await buyer('euro', { plan: 'pro' }), 1);
  const free = await service.signUp();
  await grantCredits(
    context(),
    { userId: free, tokens: 4001, source: 'bonus', reason: 'a gift' },
    request('grant'),
  );
  await spend(free, 6);
  await service.settle();
  const close = await closeMonth(context(), month);
  closes.push(close);
  checkTies(close);
  expect(close.isFinal).toBe(false);
  const [eur, usd] = close.currencies;
  expect(close.currencies.map(({ currency }) => currency)).toEqual(['eur', 'usd']);
  expect(eur).toMatchObject({
    stripe: { paidMinor: 1999 },
    deferred: { issuedMinor: 1999, recognisedMinor: 19 },
  });
  expect(usd!.stripe).toMatchObject({
    paidMinor: 27_000,
    refundedMinor: 1000,
    disputedMinor: 2000,
    outsideMinor: 0,
  });
  // A year of USD 200: one month is issued, eleven are to come.
  expect(usd!.unissued).toMatchObject({ boughtMinor: 27_000, issuedMinor: 8666, closingMinor: 18_334 });
  expect(usd!.deferred).toMatchObject({ issuedMinor: 8666, clawedMinor: 2000 + 400 });
}, 60_000);

const context = () => service.context;

test('months chain, and one that is over never changes', async () => {
  let month = closes[0]!.month;
  for (const days of [32, 31, 33]) {
    await service.advance(days);
    await service.settle();
    await spend(users.monthly!, 11);
    await spend(users.euro!, 3);
    const before = await closeMonth(context(), month);
    month = next(month);
    const close = await closeMonth(context(), month);
    checkTies(before);
    checkTies(close);
    expect(before.isFinal).toBe(true);
    for (const { currency, deferred, unissued } of close.currencies) {
      const last = before.currencies.find((one) => one.currency === currency)!;
      expect(deferred.openingMinor).toBe(last.deferred.closingMinor);
      expect(unissued.openingMinor).toBe(last.unissued.closingMinor);
    }
    expect(close.tokens.opening).toBe(before.tokens.closing);
    closes.push(before);
  }
  const usd = closes.at(-1)!.currencies.find(({ currency }) => currency === 'usd')!;
  expect(usd.deferred.breakageMinor).toBeGreaterThan(0);
  for (const close of closes.filter(({ isFinal }) => isFinal))
    expect(await closeMonth(context(), close.month)).toEqual(close);
}, 120_000);

test('the CSV has the numbers of the JSON', async () => {
  const close = closes[1]!;
  const rows = closeCsv(close)
    .trimEnd()
    .split('\r\n')
    .map((line) => line.split(','));
  expect(rows[0]).toEqual(['month', 'section', 'currency', 'offer', 'source', 'measure', 'value']);
  const values = (section: string, currency: string) =>
    Object.fromEntries(
      rows.filter((row) => row[1] === section && row[2] === currency).map((row) => [row[5], Number(row[6])]),
    );
  for (const { currency, stripe, booked, unissued, deferred } of close.currencies) {
    expect(values('stripe', currency)).toEqual(stripe);
    expect(values('booked', currency)).toEqual(booked);
    expect(values('unissued', currency)).toEqual(unissued);
    expect(values('deferred', currency)).toEqual(deferred);
  }
  expect(values('tokens', '')).toEqual(close.tokens);
  const cells = [...close.credits, ...close.lines].reduce(
    (sum, row) => sum + Object.values(row).filter((cell) => typeof cell === 'number').length,
    0,
  );
  expect(rows.filter((row) => row[1] === 'credits' || row[1] === 'lines')).toHaveLength(cells);
});

test('what is not booked, and what was given for nothing, is listed', async () => {
  const month = monthOf(context().clock.now());
  await service.buy(await service.signUp('late'), { pack: 'pack_50' });
  await service.control('/delivery/settle');
  const held = service.deliveries.splice(0);
  const lost = await closeMonth(context(), month);
  expect(lost.differences).toMatchObject([{ kind: 'not_booked', currency: 'usd', moneyMinor: 1000 }]);
  expect(lost.currencies.find(({ currency }) => currency === 'usd')!.differenceMinor).toBe(1000);
  for (const delivery of held) await service.receive(delivery);
  expect((await closeMonth(context(), month)).differences).toEqual([]);
  await byHand(
    service,
    `update ledger_entries set balance_after = balance_after + 5 where user_id = 'late' and seq =
    (select max(seq) from ledger_entries where user_id = 'late')`,
  );
  expect((await closeMonth(context(), month)).differences).toMatchObject([
    { kind: 'ledger_balances', tokens: 5 },
  ]);
}, 60_000);

test('what a customer that is nobody’s has paid for the catalogue is listed until somebody says whose it is', async () => {
  const month = monthOf(context().clock.now());
  const { data } = await service.stripe.prices.list({ lookup_keys: ['pro_annual'] });
  const stranger = await service.stripe.customers.create({
    payment_method: 'pm_card_visa',
    invoice_settings: { default_payment_method: 'pm_card_visa' },
  });
  const before = await closeMonth(context(), month);
  await service.stripe.subscriptions.create({ customer: stranger.id, items: [{ price: data[0]!.id }] });
  const manual = await service.stripe.invoices.create({ customer: stranger.id });
  await service.stripe.invoiceItems.create({ customer: stranger.id, invoice: manual.id!, amount: 700 });
  await service.stripe.invoices.pay(manual.id!);
  const usdOf = (close: Close) => close.currencies.find(({ currency }) => currency === 'usd')!;
  const unknown = await closeMonth(context(), month);
  expect(unknown.differences.filter(({ kind }) => kind === 'not_booked')).toMatchObject([
    { currency: 'usd', moneyMinor: 20_000 },
  ]);
  expect(usdOf(unknown)).toMatchObject({ differenceMinor: 20_000, stripe: { outsideMinor: 700 } });
  await service.stripe.customers.update(stranger.id, {
    metadata: { tollgate_user_id: await service.signUp() },
  });
  await service.settle();
  const known = await closeMonth(context(), month);
  expect(known.differences).toEqual(before.differences);
  expect(usdOf(known).differenceMinor).toBe(0);
}, 60_000);

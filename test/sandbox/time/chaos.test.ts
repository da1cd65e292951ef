import { expect, test } from 'vitest';
import { DAY, HOUR, receiver, SECRET, start } from './support.ts';

const NOW = '2027-01-31T12:00:00.000Z';
const RUNS = 100;

interface Run {
  /** Events as numbers: their place in the list, since every run gives them other ids. */
  heard: number[];
  stale: number;
  listed: string[];
  totals: { delivered: number; dropped: number };
}

async function chaotic() {
  const target = await receiver();
  const sandbox = await start(NOW, { webhookEndpoints: [{ url: target.url, secret: SECRET }] });
  const { stripe, control, price } = sandbox;

  /** One history: a subscriber, a failed renewal, its payment, the end. */
  const history = async (): Promise<void> => {
    const customer = await stripe.customers.create({ source: 'tok_visa' });
    const subscription = await stripe.subscriptions.create({
      customer: customer.id,
      items: [{ price: await price('pro_monthly') }],
    });
    await control(`/customers/${customer.id}/payment`, { outcome: 'card_declined' });
    // Within the 30 days that the list reaches back.
    await control('/clock/advance', { seconds: 28 * DAY + 2 * HOUR });
    await control(`/customers/${customer.id}/payment`, { outcome: 'succeeds' });
    const [unpaid] = (await stripe.invoices.list({ subscription: subscription.id, status: 'open' })).data;
    await stripe.invoices.pay(unpaid!.id);
    await stripe.subscriptions.cancel(subscription.id);
  };

  const run = async (settings: Record<string, unknown>): Promise<Run> => {
    await control('/reset');
    target.events.splice(0);
    await control('/delivery', settings);
    await history();
    const { delivered, dropped } = await control('/delivery/settle');
    const listed = [];
    for await (const event of stripe.events.list({ limit: 100 })) listed.push(event);
    listed.reverse();
    const place = new Map(listed.map((event, index) => [event.id, index]));
    const originals = new Map(listed.map((event) => [event.id, JSON.stringify(event.data)]));
    return {
      heard: target.events.map((event) => place.get(event.id)!),
      stale: target.events.filter((event) => originals.get(event.id) !== JSON.stringify(event.data)).length,
      listed: listed.map((event) => event.type),
      totals: { delivered: Number(delivered), dropped: Number(dropped) },
    };
  };
  return { run, target };
}

test('a hundred seeded runs of one history deliver the same set; what is lost is in the list', async () => {
  const { run, target } = await chaotic();
  const calm = await run({});
  const all = calm.listed.map((_type, index) => index);
  expect(calm.heard.toSorted((a, b) => a - b)).toEqual(all);
  expect(calm.listed).toContain('invoice.payment_failed');
  const orders = new Set<string>();
  for (let seed = 1; seed <= RUNS; seed += 1) {
    const lossy = seed % 2 === 0;
    const { heard, listed, totals } = await run({
      seed,
      shuffle: true,
      duplicateRate: 0.3,
      staleRate: 0.2,
      dropRate: lossy ? 0.25 : 0,
      beforeResponse: seed % 3 === 0,
    });
    expect(listed, `seed ${seed}`).toEqual(calm.listed);
    const unique = new Set(heard);
    expect(unique.size + totals.dropped, `seed ${seed}`).toBe(all.length);
    if (!lossy)
      expect(
        [...unique].toSorted((a, b) => a - b),
        `seed ${seed}`,
      ).toEqual(all);
    expect(totals.delivered, `seed ${seed}`).toBe(heard.length);
    orders.add(heard.join());
  }
  expect(orders.size).toBe(RUNS);
  expect(target.rejected).toEqual([]);
}, 120_000);

test('the same seed gives the same order, copies, losses and stale views, whatever the network does', async () => {
  const { run } = await chaotic();
  for (const settings of [
    { shuffle: true, duplicateRate: 0.4, dropRate: 0.2, staleRate: 0.3 },
    { delayMs: 15, duplicateRate: 0.3 },
    { shuffle: true, delayMs: 5, beforeResponse: true },
  ]) {
    const first = await run({ seed: 42, ...settings });
    expect(await run({ seed: 42, ...settings })).toEqual(first);
    expect((await run({ seed: 43, ...settings })).heard).not.toEqual(first.heard);
    if (settings.staleRate !== undefined) expect(first.stale).toBeGreaterThan(0);
  }
}, 60_000);

import { expect } from 'vitest';
import { DAY, subscribe } from '../harness.ts';
import { expectNamedControls, inBrowser, useVisitor } from './browser.ts';

const here = useVisitor();

inBrowser('a renewal that wants its owner is authenticated on the invoice`s page', async () => {
  const { harness, page } = here();
  const { stripe } = harness;
  const { customer, subscription: id } = await subscribe(harness);
  await harness.control(`/customers/${customer}/payment`, { outcome: 'requires_action' });
  await harness.advance(32 * DAY);
  const { latest_invoice: invoice } = await stripe.subscriptions.retrieve(id, { expand: ['latest_invoice'] });
  if (typeof invoice !== 'object' || invoice === null) throw new Error('latest_invoice was not expanded');
  await page.goto(invoice.hosted_invoice_url!);
  await expectNamedControls(page);
  expect(await page.getByRole('alert').textContent()).toContain('asks you to authenticate');
  await page.getByRole('link', { name: 'Authenticate' }).click();
  await page.getByRole('button', { name: 'Fail authentication' }).click();
  expect(await page.getByRole('alert').textContent()).toContain('unable to authenticate');
  // Another card, which wants its owner as well.
  await page.getByLabel(/3220/).check();
  await page.getByRole('button', { name: 'Pay $20.00' }).click();
  await page.getByRole('button', { name: 'Complete authentication' }).click();
  expect(await page.getByRole('status').textContent()).toContain('This invoice is paid');
  expect(await page.getByRole('button').count()).toBe(0);
  expect((await stripe.subscriptions.retrieve(id)).status).toBe('active');
  const nobody = await fetch(`${harness.sandbox.url}/invoices/in_nobody`);
  expect(nobody.status).toBe(404);
  expect(await nobody.text()).toContain('There is nothing here');
});

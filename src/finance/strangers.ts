/** The reverse direction: paid lines of ours whose payment Stripe has not listed. */
import { findPayments, listLinePlaces, type Place, START } from '../store/books.ts';
import { isMissing } from '../stripe/client.ts';
import type { Check } from './findings.ts';
import { reportExtra } from './payments.ts';

const PAGE = 500;

/** @returns how many lines we have */
export async function findExtraLines(check: Check): Promise<number> {
  const { context, findings } = check;
  const scope = { userId: check.user?.id ?? null, since: check.since };
  let count = 0;
  let after: Place = START;
  for (;;) {
    const places = await listLinePlaces(context.pool, after, PAGE, scope);
    count += places.length;
    const unseen = new Set(await findings.unseen([...new Set(places.map(({ paymentId }) => paymentId))]));
    const owners = new Map(places.map(({ paymentId, userId }) => [paymentId, userId]));
    for (const paymentId of unseen) await reportPayment(check, owners.get(paymentId) ?? '', paymentId);
    const last = places.at(-1);
    if (!last || places.length < PAGE) return count;
    after = last;
  }
}

async function reportPayment(check: Check, userId: string, paymentId: string): Promise<void> {
  if (await isPaid(check, paymentId)) return;
  await check.findings.see([paymentId]);
  const { lines, grants } = await findPayments(check.context.pool, [userId], [paymentId]);
  await reportExtra(check.findings, userId, lines, grants);
}

/** Paid since the list was read, or made before what a partial run looks at: no difference. */
async function isPaid({ reader: { stripe, pace } }: Check, paymentId: string): Promise<boolean> {
  await pace();
  try {
    if (!paymentId.startsWith('cs_')) return (await stripe.invoices.retrieve(paymentId)).status === 'paid';
    const session = await stripe.checkout.sessions.retrieve(paymentId);
    return session.status === 'complete' && session.payment_status !== 'unpaid';
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

/** How much of the payments of a page went back: of everything by sums in the run's rows, of one user by asking Stripe. */
import type { PaymentMoney } from '../domain/paid-lines.ts';
import type { Pool } from '../store/database.ts';
import { addMarks, findMarks } from '../store/reconciliations.ts';
import { type BulkPayment, type BulkReader, returnedPages } from '../stripe/bulk.ts';
import { creditedOf, returnedOf } from '../stripe/money.ts';

/** The money of each payment of a page, by its id. */
export type MoneyOf = (payments: readonly BulkPayment[]) => Promise<Map<string, PaymentMoney>>;

/** Stripe's refunds, disputes and credit notes, summed by what they belong to. @returns how many there were */
export async function collectReturned(
  pool: Pool,
  runId: string,
  reader: BulkReader,
  since: Date | null,
): Promise<number> {
  let count = 0;
  const created = since === null ? {} : { created: { gte: Math.floor(since.getTime() / 1000) } };
  for await (const page of returnedPages(reader, created)) {
    count += page.length;
    await addMarks(
      pool,
      runId,
      page.filter(({ minor }) => minor > 0),
    );
  }
  return count;
}

const sourceIds = ({ sources }: BulkPayment): string[] =>
  sources.map((source) => ('charge' in source ? source.charge : source.payment_intent));

export function collectedMoney(pool: Pool, runId: string): MoneyOf {
  return async (payments) => {
    const ids = payments.flatMap((payment) => [payment.fetched.id, ...sourceIds(payment)]);
    const marks = await findMarks(pool, runId, ids);
    const sum = (kind: string, of: readonly string[]): number =>
      marks.reduce(
        (all, mark) => all + (mark.kind === kind && of.includes(mark.subjectId) ? mark.minor : 0),
        0,
      );
    return new Map(
      payments.map((payment) => {
        const { paidMinor } = payment.fetched.money;
        const money = {
          paidMinor,
          refundedMinor: sum('refunded', sourceIds(payment)),
          disputedMinor: sum('disputed', sourceIds(payment)),
          creditedMinor: paidMinor === 0 ? 0 : sum('credited', [payment.fetched.id]),
        };
        return [payment.fetched.id, money];
      }),
    );
  };
}

export function askedMoney({ stripe, pace }: BulkReader): MoneyOf {
  return async (payments) => {
    const all = new Map<string, PaymentMoney>();
    for (const { kind, fetched, sources } of payments) {
      await pace();
      const { paidMinor } = fetched.money;
      const creditedMinor = kind === 'session' || paidMinor === 0 ? 0 : await creditedOf(stripe, fetched.id);
      all.set(fetched.id, { paidMinor, ...(await returnedOf(stripe, sources)), creditedMinor });
    }
    return all;
  };
}

import { z } from 'zod';
import { missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import { inRange, noParams, pageParams, text, timeRange } from '../http/params.ts';
import { type Route, route } from '../http/route.ts';

const listParams = z.strictObject({
  ...pageParams,
  created: timeRange.optional(),
  invoice: text.optional(),
  payment: z
    .strictObject({
      payment_intent: text.optional(),
      payment_record: text.optional(),
      type: z.enum(['payment_intent', 'payment_record']),
    })
    .optional(),
  status: z.enum(['canceled', 'open', 'paid']).optional(),
});

export const invoicePaymentRoutes: Route[] = [
  route('GET', '/invoice_payments', listParams, ({ world, params, path }) =>
    page(
      world.state.invoicePayments.values(),
      params,
      path,
      (one) =>
        inRange(one.created, params.created) &&
        (params.invoice === undefined || one.invoice === params.invoice) &&
        (params.status === undefined || one.status === params.status) &&
        (params.payment === undefined || one.payment.payment_intent === params.payment.payment_intent),
    ),
  ),
  route('GET', '/invoice_payments/:id', noParams, ({ world, id }) => {
    const payment = world.state.invoicePayments.get(id);
    if (payment === undefined) throw missing('invoice_payment', id);
    return payment;
  }),
];

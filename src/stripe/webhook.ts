/** The door for Stripe's events: verified, stored as a pointer, answered. Nothing else is awaited in the request. */
import { z } from 'zod';
import type { Context } from '../context.ts';
import { invalidField, TollgateError } from '../errors.ts';
import { type EventPointer, markHandled, receiveEvent } from '../store/inbox.ts';
import { isLiveKey } from './client.ts';

/** Stripe's own default (https://docs.stripe.com/webhooks#replay-attacks); here it holds in both directions. */
const TOLERANCE_SECONDS = 300;

const text = z.string().min(1).max(255);
const ref = z.union([text, z.object({ id: text }).transform(({ id }) => id)]);

/** Ids only: what else a payload says is old by the time it is read. `invoice.upcoming` has no id. */
const eventShape = z
  .object({
    id: text,
    object: z.literal('event'),
    type: text,
    api_version: z.string().nullish(),
    livemode: z.boolean(),
    created: z.int().min(0).max(253_402_300_799),
    data: z.object({
      object: z.object({ id: text.nullish(), object: z.string().nullish(), customer: ref.nullish() }),
    }),
  })
  .transform((event): EventPointer => {
    const { id, object, customer } = event.data.object;
    return {
      id: event.id,
      type: event.type,
      apiVersion: event.api_version ?? null,
      livemode: event.livemode,
      objectId: id ?? null,
      customerId: customer ?? (object === 'customer' ? (id ?? null) : null),
      createdAt: new Date(event.created * 1000),
    };
  });

/** @returns undefined for what is no event of the v1 shape */
export function pointerOf(event: unknown): EventPointer | undefined {
  return eventShape.safeParse(event).data;
}

/**
 * Stores a verified event and wakes its handler; a duplicate of one that is still unhandled wakes it again.
 * @param rawBody the bytes as they came: parsed and printed again they have another signature
 * @throws TollgateError `invalid_request` for a bad signature or a body that is no event, and nothing is stored
 */
export async function receiveWebhook(
  context: Context,
  rawBody: Buffer,
  signature: string | undefined,
): Promise<void> {
  verifySignature(context, rawBody, signature);
  const pointer = pointerOf(parseJson(rawBody));
  if (!pointer) throw invalidField('body', 'is no Stripe event');
  await storeEvent(context, pointer, 'webhook');
}

function parseJson(rawBody: Buffer): unknown {
  try {
    return JSON.parse(rawBody.toString('utf8'));
  } catch (error) {
    throw new TollgateError('invalid_request', 'body: is not JSON', { cause: error });
  }
}

function verifySignature({ config, stripe }: Context, rawBody: Buffer, header: string | undefined): void {
  if (header === undefined || header === '') throw invalidField('header.stripe-signature', 'is missing');
  const signedAt = Number(/(?:^|,)\s*t=(\d{1,12})(?:,|$)/.exec(header)?.[1]);
  // The SDK refuses what is too old and takes any time in the future. Wall time: Stripe signs by it.
  const isFromFuture = !(signedAt <= Date.now() / 1000 + TOLERANCE_SECONDS);
  if (isFromFuture || !config.stripe.webhookSecrets.some((secret) => isSignedBy(secret))) {
    throw invalidField('header.stripe-signature', 'does not sign this body with a secret of ours');
  }

  function isSignedBy(secret: string): boolean {
    try {
      return (
        stripe.webhooks.signature?.verifyHeader(rawBody, header ?? '', secret, TOLERANCE_SECONDS) === true
      );
    } catch {
      // Thrown for every kind of mismatch; the next secret may fit while one is being rotated.
      return false;
    }
  }
}

/** @returns whether the event is new here */
export async function storeEvent(
  context: Context,
  pointer: EventPointer,
  origin: 'webhook' | 'backfill',
): Promise<boolean> {
  const now = context.clock.now();
  const { isNew, isUnhandled } = await receiveEvent(context.pool, pointer, { origin, now });
  if (!isUnhandled) return isNew;
  if (pointer.livemode !== isLiveKey(context.config)) {
    context.log.warn({ eventId: pointer.id, livemode: pointer.livemode }, 'An event of the other mode');
    const outcome = `livemode ${pointer.livemode}, unlike our key`;
    await markHandled(context.pool, pointer.id, { status: 'ignored', outcome, userId: null, now });
    return isNew;
  }
  context.jobs.wake({ name: 'handle-stripe-event', eventId: pointer.id });
  return isNew;
}

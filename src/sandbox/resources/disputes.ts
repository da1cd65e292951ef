import { z } from 'zod';
import { closeDispute, submitEvidence } from '../engine/disputes.ts';
import { missing } from '../errors.ts';
import { page } from '../http/lists.ts';
import {
  cosmetic,
  flag,
  inRange,
  mergeMetadata,
  metadata,
  noParams,
  pageParams,
  text,
  timeRange,
  unset,
} from '../http/params.ts';
import { type Route, route } from '../http/route.ts';
import type { Dispute } from '../wire.ts';
import type { World } from '../world.ts';

const listParams = z.strictObject({
  ...pageParams,
  charge: text.optional(),
  created: timeRange.optional(),
  payment_intent: text.optional(),
});

/** Every kind of evidence is a text or a file's id; what is not known is refused by the engine. */
const updateParams = z.strictObject({
  evidence: z.record(text, z.union([unset, z.string().max(150_000)])).optional(),
  intended_submission_method: cosmetic,
  metadata: metadata.optional(),
  submit: flag.optional(),
});

export function findDispute(world: World, id: string): Dispute {
  const dispute = world.state.disputes.get(id);
  if (dispute === undefined) throw missing('dispute', id);
  return dispute;
}

export const disputeRoutes: Route[] = [
  route('GET', '/disputes', listParams, ({ world, params, path }) =>
    page(
      world.state.disputes.values(),
      params,
      path,
      (one) =>
        inRange(one.created, params.created) &&
        (params.charge === undefined || one.charge === params.charge) &&
        (params.payment_intent === undefined || one.payment_intent === params.payment_intent),
    ),
  ),
  route('GET', '/disputes/:id', noParams, ({ world, id }) => findDispute(world, id)),
  route('POST', '/disputes/:id', updateParams, ({ world, params, id }) => {
    const dispute = findDispute(world, id);
    const { evidence, submit = true } = params;
    if (evidence !== undefined || params.submit !== undefined)
      submitEvidence(world, dispute, evidence ?? {}, submit);
    world.update('charge.dispute.updated', dispute, {
      metadata: mergeMetadata(dispute.metadata, params.metadata),
    });
    return dispute;
  }),
  // The merchant closing a dispute concedes it.
  route('POST', '/disputes/:id/close', noParams, ({ world, id }) => {
    const dispute = findDispute(world, id);
    closeDispute(world, dispute, 'lost');
    return dispute;
  }),
];

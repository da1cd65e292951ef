/**
 * Whether a ledger is what the stored facts make of it (invariants I4 and I8): the same rules that write it are run
 * once more over a copy, and whatever they would still change is a difference. Pure.
 */
import type { Account } from './account.ts';
import type { Facts } from './agreements.ts';
import { comparable } from './differences.ts';
import { grantsOfWindow, tokensKept } from './landing.ts';
import type { Grant } from './model.ts';
import { clawTarget, type PaidLine } from './paid-lines.ts';
import { TOKENS_PER_CREDIT } from './plans.ts';
import { rollWith, settle } from './settle.ts';
import { type Landing, landingsOf } from './windows.ts';

const PLAN_FIELDS = [
  'subscriptionTier',
  'isSubscribed',
  'isMetered',
  'currentSubscriptionId',
  'subscriptionEndsAt',
  'accessEndsAt',
] as const;
type PlanFields = Pick<Account['user'], (typeof PLAN_FIELDS)[number]>;

export interface AccountCheck {
  /** Grants of known paid lines that are not there. */
  missing: Grant[];
  /** The plan as it is and as it should be; null where they agree. */
  plan: { ours: PlanFields; should: PlanFields } | null;
  clawbacks: { grant: Grant; oursTokens: number; shouldTokens: number; line: PaidLine | undefined }[];
  /** Grants that are withheld and should not be, or the other way round. */
  withheld: Grant[];
  wrongAmounts: { grant: Grant; shouldTokens: number; line: PaidLine }[];
  /** Bought grants whose line is not known. */
  strangers: Grant[];
  paidTwice: PaidLine[];
  /** Entitled subscriptions beside the one that counts. */
  duplicates: string[];
}

/** @param account a copy, which is used up; bought, open and withheld grants are loaded */
export function checkAccount(account: Account, facts: Facts): AccountCheck {
  // As whoever touches the user first would do it.
  if (account.user.nextDueAt <= account.now) rollWith(account, facts);
  const landings = landingsByKey(account, facts.lines);
  const stored = [...account.grants.values()];
  const wrongAmounts = stored.flatMap((grant) => wrongAmount(account, grant, landings, facts.lines));
  const linesByKey = new Map(facts.lines.map((line) => [line.key, line]));
  const isStranger = (grant: Grant): boolean => {
    const key = lineKeyOf(grant);
    return key !== null && !linesByKey.has(key) && (grant.voidedAt === null || grant.isWithheld);
  };
  const strangers = stored.filter(isStranger);
  const before = new Map(stored.map((grant) => [grant.id, { ...grant }]));
  const ours = planOf(account);
  const { paidTwice, duplicates } = settle(account, facts);
  const should = planOf(account);
  const changed = stored.map((grant) => ({ grant, was: before.get(grant.id) ?? grant }));
  return {
    missing: [...account.newGrants].filter(({ id, invoiceId, checkoutSessionId }) => {
      return !before.has(id) && (invoiceId !== null || checkoutSessionId !== null);
    }),
    plan: PLAN_FIELDS.some((field) => comparable(ours[field]) !== comparable(should[field]))
      ? { ours, should }
      : null,
    clawbacks: changed
      .filter(({ grant, was }) => grant.clawTargetTokens !== was.clawTargetTokens)
      .map(({ grant, was }) => ({
        grant,
        oursTokens: was.clawTargetTokens,
        shouldTokens: grant.clawTargetTokens,
        line: linesByKey.get(lineKeyOf(grant) ?? ''),
      })),
    withheld: changed.filter(({ grant, was }) => grant.isWithheld !== was.isWithheld).map(({ was }) => was),
    wrongAmounts,
    strangers,
    paidTwice,
    duplicates,
  };
}

function planOf({ user }: Account): PlanFields {
  const {
    subscriptionTier,
    isSubscribed,
    isMetered,
    currentSubscriptionId,
    subscriptionEndsAt,
    accessEndsAt,
  } = user;
  return {
    subscriptionTier,
    isSubscribed,
    isMetered,
    currentSubscriptionId,
    subscriptionEndsAt,
    accessEndsAt,
  };
}

/** The paid line that a grant says it comes from; null where it was not bought. */
export function lineKeyOf({ key, invoiceId, invoiceLineId, checkoutSessionId }: Grant): string | null {
  if (invoiceId !== null) return `inv:${invoiceId}:${invoiceLineId}`;
  return checkoutSessionId === null ? null : key;
}

/** Everything that all paid lines buy. */
export function landingsByKey(
  account: Pick<Account, 'catalogue'>,
  lines: readonly PaidLine[],
): Map<string, Landing> {
  const bySubscription = new Map<string, PaidLine[]>();
  for (const line of lines) {
    if (line.subscriptionId === null) continue;
    bySubscription.set(line.subscriptionId, [...(bySubscription.get(line.subscriptionId) ?? []), line]);
  }
  const landings = [...bySubscription.values()].flatMap((own) => landingsOf(account.catalogue, own));
  return new Map(landings.map((landing) => [landing.key, landing]));
}

/** What a pack line gives; null where it is none of the catalogue. */
export function packTokens({ catalogue }: Pick<Account, 'catalogue'>, line: PaidLine): number | null {
  const pack = line.kind === 'pack' && line.offer !== null ? catalogue.packs[line.offer] : undefined;
  return pack ? pack.credits * TOKENS_PER_CREDIT * line.quantity : null;
}

function wrongAmount(
  account: Account,
  grant: Grant,
  landings: ReadonlyMap<string, Landing>,
  lines: readonly PaidLine[],
): AccountCheck['wrongAmounts'] {
  const landing = landings.get(grant.key);
  const pack = landing ? undefined : lines.find(({ key }) => key === grant.key);
  const line = landing?.line ?? pack;
  const packed = pack ? packTokens(account, pack) : null;
  const shouldTokens = landing ? tokensFor(account, landing, landings) : packed;
  if (line === undefined || shouldTokens === null || shouldTokens === grant.amountTokens) return [];
  return [{ grant, shouldTokens, line }];
}

/** Less what was spent of a grant that landed before we heard of the line that took its window over (landing.ts). */
function tokensFor(account: Account, landing: Landing, landings: ReadonlyMap<string, Landing>): number {
  const superseded = grantsOfWindow(account, landing).filter(({ key }) => !landings.has(key));
  return Math.min(landing.tokens, landing.windowTokens - tokensKept(superseded));
}

/** How far what was taken back of a line's grants is from what these facts ask for. */
export function clawChange(grants: readonly Grant[], line: Pick<PaidLine, 'money'>): number {
  return grants.reduce(
    (sum, grant) => sum + clawTarget(line, grant.amountTokens) - grant.clawTargetTokens,
    0,
  );
}

/**
 * What the rows of a user must say if the ledger is the truth, which it is: entries are only ever appended, while
 * balances and grants are sums of them and can be made again. Pure.
 */
import { newGrant } from './account.ts';
import type { GrantSource } from './burn.ts';
import type { Grant } from './model.ts';

/** A grant as its entries tell it. */
export interface LedgerGrant {
  id: string;
  key: string;
  amountTokens: number;
  reason: string | null;
  createdAt: Date;
  /** All its parts: what remains and what is held. */
  movedTokens: number;
  expiredTokens: number;
  voidedTokens: number;
  clawedTokens: number;
  clawDebtTokens: number;
  settledDebtTokens: number;
}

export interface Rebuilt {
  /** With the right numbers; rows that were there. */
  changed: Grant[];
  /** Rows that somebody has deleted. */
  restored: Grant[];
  /** Rows that no entry knows. */
  removed: Grant[];
}

const NUMBERS = [
  'amountTokens',
  'remainingTokens',
  'heldTokens',
  'expiredTokens',
  'voidedTokens',
  'clawedTokens',
  'clawDebtTokens',
  'settledDebtTokens',
] as const;

/**
 * @param rows all grants of the user, the head's remaining tokens included
 * @param held tokens in open holds, by grant
 * @param describe what a grant of this key was for; null where that cannot be known any more
 */
export function rebuild(
  ledger: readonly LedgerGrant[],
  rows: readonly Grant[],
  held: ReadonlyMap<string, number>,
  describe: (key: string) => Partial<Grant> | null,
  now: Date,
): Rebuilt {
  const byId = new Map(rows.map((row) => [row.id, row]));
  const changed: Grant[] = [];
  const restored: Grant[] = [];
  for (const told of ledger) {
    const row = byId.get(told.id);
    const right = withNumbers(row ?? describedGrant(told, describe), told, held.get(told.id) ?? 0, now);
    if (!row) restored.push(right);
    else if (NUMBERS.some((field) => row[field] !== right[field])) changed.push(right);
  }
  const known = new Set(ledger.map(({ id }) => id));
  return { changed, restored, removed: rows.filter(({ id }) => !known.has(id)) };
}

function withNumbers(row: Grant, told: LedgerGrant, heldTokens: number, now: Date): Grant {
  const { clawedTokens, clawDebtTokens } = told;
  const remainingTokens = told.movedTokens - heldTokens;
  const isOver = row.voidedAt !== null || (row.expiresAt !== null && row.expiresAt <= now);
  return {
    ...row,
    amountTokens: told.amountTokens,
    remainingTokens,
    heldTokens,
    expiredTokens: told.expiredTokens,
    voidedTokens: told.voidedTokens,
    clawedTokens,
    clawDebtTokens,
    settledDebtTokens: told.settledDebtTokens,
    clawTargetTokens: Math.min(
      told.amountTokens,
      Math.max(row.clawTargetTokens, clawedTokens + clawDebtTokens),
    ),
    closedAt: remainingTokens > 0 && !isOver ? null : row.closedAt,
  };
}

/** @throws Error where the key does not tell what the grant was */
function describedGrant(told: LedgerGrant, describe: (key: string) => Partial<Grant> | null): Grant {
  const details = describe(told.key);
  if (!details) throw new Error(`Grant ${told.id} (${told.key}) is gone and nothing tells what it was for.`);
  const { id, key, amountTokens: tokens, createdAt } = told;
  return {
    ...newGrant(id, { key, source: sourceOf(key), tokens, expiresAt: null }, createdAt),
    remainingTokens: 0,
    reason: told.reason,
    voidedAt: told.voidedTokens > 0 ? told.createdAt : null,
    ...details,
  };
}

function sourceOf(key: string): GrantSource {
  const [kind] = key.split(':');
  if (kind === 'pack') return 'top_up';
  return kind === 'bonus' || kind === 'adjustment' ? kind : kind === 'correct' ? 'adjustment' : 'allowance';
}

export type GrantSource = 'allowance' | 'bonus' | 'adjustment' | 'top_up';

/** What burn order looks at. */
export interface BurnOrdered {
  id: string;
  source: GrantSource;
  priority: number;
  effectiveAt: Date;
  expiresAt: Date | null;
}

/** What was given burns before what was bought. */
const SOURCE_ORDER: Record<GrantSource, number> = { allowance: 0, bonus: 1, adjustment: 2, top_up: 3 };

const time = (date: Date | null): number => date?.getTime() ?? Number.POSITIVE_INFINITY;

/** Total order in which grants burn: priority, soonest expiry (never last), source, effectiveAt, id. */
export function compareBurnOrder(a: BurnOrdered, b: BurnOrdered): number {
  if (a.priority !== b.priority) return a.priority - b.priority;
  const [aEnds, bEnds] = [time(a.expiresAt), time(b.expiresAt)];
  if (aEnds !== bEnds) return aEnds < bEnds ? -1 : 1;
  if (a.source !== b.source) return SOURCE_ORDER[a.source] - SOURCE_ORDER[b.source];
  const byStart = a.effectiveAt.getTime() - b.effectiveAt.getTime();
  if (byStart !== 0) return byStart;
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}

/** A quantity of tokens in one grant. */
export interface Part {
  grantId: string;
  source: GrantSource;
  tokens: number;
}

/**
 * Splits `tokens` over `grants` in burn order.
 * @returns parts that sum to `min(tokens, what remains)`
 */
export function splitOverGrants(
  grants: readonly (BurnOrdered & { remainingTokens: number })[],
  tokens: number,
): Part[] {
  const parts: Part[] = [];
  let needed = tokens;
  for (const grant of [...grants].sort(compareBurnOrder)) {
    if (needed === 0) break;
    const taken = Math.min(needed, grant.remainingTokens);
    if (taken === 0) continue;
    parts.push({ grantId: grant.id, source: grant.source, tokens: taken });
    needed -= taken;
  }
  return parts;
}

export function sumOfParts(parts: readonly Part[]): number {
  return parts.reduce((total, { tokens }) => total + tokens, 0);
}

export function negated(taken: Part): Part {
  return { ...taken, tokens: -taken.tokens };
}

/** One part per grant: a capture may take from a hold and from the balance of the same grant. */
export function mergeParts(parts: readonly Part[]): Part[] {
  const merged = new Map<string, Part>();
  for (const taken of parts) {
    const before = merged.get(taken.grantId);
    merged.set(taken.grantId, { ...taken, tokens: taken.tokens + (before?.tokens ?? 0) });
  }
  return [...merged.values()];
}

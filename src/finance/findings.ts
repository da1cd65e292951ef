/** Where a comparison writes what it finds and what it has met: the rows of a run, or the memory for one user. */
import type { Context } from '../context.ts';
import type { Difference, DifferenceKind } from '../domain/differences.ts';
import {
  addDifferences,
  addMarks,
  dropDifference,
  findMarks,
  findUsersWithKinds,
} from '../store/reconciliations.ts';
import type { BulkReader } from '../stripe/bulk.ts';

export interface Findings {
  /** The same kind and subject again adds its money to the first. */
  add(found: readonly Difference[]): Promise<void>;
  /** What another difference explains as well. */
  drop(kind: DifferenceKind, subjectId: string): Promise<void>;
  /** Notes that Stripe has these objects. */
  see(ids: readonly string[]): Promise<void>;
  /** @returns which of these Stripe has not listed so far */
  unseen(ids: readonly string[]): Promise<string[]>;
  /** Which of these users have one of `kinds`. */
  usersWith(userIds: readonly string[], kinds: readonly DifferenceKind[]): Promise<Set<string>>;
}

/** What one comparison works with. */
export interface Check {
  /** Its log is silent: what a comparison meets was alerted when it was handled. */
  context: Context;
  reader: BulkReader;
  findings: Findings;
  /** Only this user, by its customers; null = everybody. */
  user: { id: string; customerIds: readonly string[] } | null;
  /** Payments made since. */
  since: Date | null;
  now: Date;
}

/** Rows, so that a run over millions needs no memory of its own. */
export function storedFindings({ pool }: Context, runId: string, now: Date): Findings {
  return {
    add: (found) => addDifferences(pool, runId, found, now),
    drop: (kind, subjectId) => dropDifference(pool, runId, { kind, subjectId }),
    see: (ids) =>
      addMarks(
        pool,
        runId,
        ids.map((subjectId) => ({ kind: 'seen', subjectId, minor: 0 })),
      ),
    async unseen(ids) {
      const marks = await findMarks(pool, runId, ids);
      const seen = new Set(marks.filter(({ kind }) => kind === 'seen').map(({ subjectId }) => subjectId));
      return ids.filter((id) => !seen.has(id));
    },
    usersWith: (userIds, kinds) => findUsersWithKinds(pool, runId, userIds, kinds),
  };
}

export interface UserFindings extends Findings {
  all(): Difference[];
}

/** For one user, whose findings are few. */
export function userFindings(): UserFindings {
  const found = new Map<string, Difference>();
  const seen = new Set<string>();
  return {
    all: () => [...found.values()],
    async add(differences) {
      for (const one of differences) {
        const key = `${one.kind} ${one.subjectId}`;
        const first = found.get(key);
        const moneyMinor = first ? (first.moneyMinor ?? 0) + (one.moneyMinor ?? 0) : one.moneyMinor;
        found.set(key, { ...(first ?? one), moneyMinor, currency: first?.currency ?? one.currency });
      }
    },
    async drop(kind, subjectId) {
      found.delete(`${kind} ${subjectId}`);
    },
    async see(ids) {
      for (const id of ids) seen.add(id);
    },
    unseen: async (ids) => ids.filter((id) => !seen.has(id)),
    async usersWith(_userIds, kinds) {
      const those = [...found.values()].filter(({ kind }) => kinds.includes(kind));
      return new Set(those.flatMap(({ userId }) => userId ?? []));
    },
  };
}

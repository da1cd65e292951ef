import type { Queryable } from './database.ts';
import { newId } from './ids.ts';

/** Who did what by hand, and why. */
export interface Audit {
  actor: string;
  action: string;
  userId: string | null;
  subject: string | null;
  reason: string | null;
  now: Date;
}

export async function recordAudit(tx: Queryable, audit: Audit): Promise<void> {
  await tx.query(
    `insert into audit_entries (id, actor, action, user_id, subject, reason, created_at)
     values ($1, $2, $3, $4, $5, $6, $7)`,
    [newId('audit'), audit.actor, audit.action, audit.userId, audit.subject, audit.reason, audit.now],
  );
}

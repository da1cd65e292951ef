/** A failure as a person reads it: the shortest history that still fails, and a table of every event of it. */
import { converge, type Verdict, type Watches } from './converge.ts';
import type { Happening, Watch } from './deliver.ts';
import type { History, Step } from './history.ts';
import type { Ledger } from './ledger.ts';

/** Leaves out steps for as long as the history fails without them, and in the same way. */
export function shrink(history: History): History {
  let shortest = history;
  const sort = sortOf(converge(history));
  for (const part of ['restitution', 'aftermath', 'steps'] as const) {
    for (let index = shortest[part].length - 1; index >= 0; index--) {
      const fewer = { ...shortest, [part]: without(shortest[part], index) };
      if (sortOf(converge(fewer)) === sort) shortest = fewer;
    }
  }
  return shortest;
}

/** The first fault without its numbers. */
function sortOf({ faults }: Verdict): string {
  return (faults[0] ?? '').replace(/\d+/g, '#').slice(0, 40);
}

/** The time that a step took stays with the next one. */
function without(steps: readonly Step[], index: number): Step[] {
  const gone = steps[index];
  return steps.flatMap((step, at) => {
    if (at === index) return [];
    return at === index + 1 && gone ? [{ ...step, afterMs: step.afterMs + gone.afterMs }] : [step];
  });
}

/** @param say one line at a time */
export function tell(history: History, say: (line: string) => void): Verdict {
  say(`seed ${history.seed}: born ${new Date(history.bornAt).toISOString()}`);
  say(
    `steps: ${[...history.steps, ...history.aftermath, ...history.restitution].map(({ name }) => name).join(', ')}`,
  );
  const tables: Record<'inOrder' | 'inChaos', string[]> = { inOrder: [], inChaos: [] };
  const watches: Watches = { inOrder: row(tables.inOrder), inChaos: row(tables.inChaos) };
  const verdict = converge(history, watches);
  for (const line of ['', 'IN ORDER', ...tables.inOrder, '', 'IN CHAOS', ...tables.inChaos, '']) say(line);
  for (const fault of verdict.faults) say(fault);
  if (verdict.faults.length === 0) say('both end alike');
  return verdict;
}

function row(table: string[]): Watch {
  let entries = 0;
  return ({ at, what }: Happening, { account }: Ledger) => {
    const { subscriptionTier, availableTokens, debtTokens } = account.user;
    const state = `${subscriptionTier} ${availableTokens}${debtTokens > 0 ? ` owes ${debtTokens}` : ''}`;
    table.push(`${new Date(at).toISOString().slice(0, 19)}  ${what.padEnd(58)} ${state}`);
    for (const { type, tokens, reason, key, createdAt } of account.entries.slice(entries)) {
      table.push(`    ${createdAt.toISOString().slice(0, 19)} ${type} ${tokens} ${reason ?? ''} (${key})`);
    }
    entries = account.entries.length;
  };
}

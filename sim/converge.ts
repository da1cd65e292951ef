/** One history lived twice, in order and in chaos, and what differs at its end. */
import { differences, outcomeOf } from './compare.ts';
import { type Happening, inChaos, inOrder, run, type Watch } from './deliver.ts';
import { type History, type Played, play } from './history.ts';
import { checkEverything, checkInvariants } from './invariants.ts';
import { Ledger } from './ledger.ts';
import { Random } from './random.ts';
import type { World } from './world.ts';

const AT_REST = 'at rest';

/** Of so many histories one is told to thorough ledgers (ledger.ts); by its seed, so that a replay does the same. */
const THOROUGH_OF = 20;

export interface Verdict {
  events: number;
  syncs: number;
  faults: string[];
}

export interface Watches {
  inOrder?: Watch;
  inChaos?: Watch;
}

export function converge(history: History, watches: Watches = {}, played: Played = play(history)): Verdict {
  const { world, quietAt, debtAt } = played;
  const random = new Random(history.seed ^ 0x5eed);
  const verdict: Verdict = { events: world.events.length, syncs: 0, faults: [] };
  const isThorough = history.seed % THOROUGH_OF === 0;
  const punctual = new Ledger(world, history.bornAt, isThorough);
  const chaotic = new Ledger(world, history.bornAt, isThorough);
  const live = (ledger: Ledger, happenings: Happening[], watch?: Watch): void => {
    verdict.syncs += happenings.length;
    run(ledger, happenings, watch);
  };
  const compare = (when: string): void => {
    const isSettled = when !== AT_REST;
    const found = differences(outcomeOf(punctual, isSettled), outcomeOf(chaotic, isSettled));
    verdict.faults.push(...found.map((difference) => `${when}: ${difference}`));
  };
  try {
    live(punctual, inOrder(world, -Infinity, quietAt), watches.inOrder);
    live(chaotic, inChaos(world, -Infinity, quietAt, random), watches.inChaos);
    for (const ledger of [punctual, chaotic]) ledger.visit(quietAt);
    compare(AT_REST);
    const entries = chaotic.account.entries.length;
    for (const ledger of [punctual, chaotic]) ledger.settleAgain(quietAt);
    compare('settled again');
    if (chaotic.account.entries.length > entries) verdict.faults.push('Settling again changed something');
    if (history.aftermath.length > 0 && verdict.faults.length === 0)
      aftermath({ world, quietAt, debtAt, random, punctual, chaotic, live, compare, watches });
    for (const ledger of [punctual, chaotic]) checkEverything(ledger, 'all');
  } catch (error) {
    verdict.faults.push(
      error instanceof Error
        ? error.name === 'Violation'
          ? error.message
          : String(error.stack)
        : String(error),
    );
  }
  return verdict;
}

interface Aftermath {
  world: World;
  quietAt: number;
  debtAt: number;
  random: Random;
  punctual: Ledger;
  chaotic: Ledger;
  watches: Watches;
  live(ledger: Ledger, happenings: Happening[], watch?: Watch): void;
  compare(when: string): void;
}

/** Tokens are spent, then money goes back: debt. The next grant settles it. */
function aftermath(about: Aftermath): void {
  const { world, quietAt, debtAt, random, punctual, chaotic, compare } = about;
  const share = random.chance(0.3) ? 1 : random.next();
  const tokens = Math.floor(punctual.account.user.availableTokens * share);
  for (const ledger of [punctual, chaotic]) if (tokens > 0) ledger.spend(tokens);
  compare('after spending');
  hearBoth(about, quietAt, debtAt);
  compare('in debt');
  const bonus = random.int(1, 100_000);
  for (const ledger of [punctual, chaotic]) {
    ledger.giveBonus(debtAt, bonus, 0);
    checkInvariants(ledger, 'the bonus at the end');
  }
  compare('after the bonus');
  hearBoth(about, debtAt, world.endsAt);
  compare('after money has come back');
}

function hearBoth(
  { world, random, punctual, chaotic, live, watches }: Aftermath,
  from: number,
  to: number,
): void {
  live(punctual, inOrder(world, from, to), watches.inOrder);
  live(chaotic, inChaos(world, from, to, random), watches.inChaos);
  for (const ledger of [punctual, chaotic]) ledger.visit(to);
}

/** When a group goes out (group-queue.ts), and how large it is. */

/**
 * With so many waiting the next group goes out before the last one is answered; with fewer it waits for what arrives in
 * this turn of the event loop. Always waiting cost a tenth of the consumes a second, never waiting half as much again in
 * flushes to disk (both measured against 24 here).
 */
export const ENOUGH = 8;
/**
 * With so many waiting a second group goes out while the first is under way: the next is there when PostgreSQL is ready
 * for it, and is decided while the first waits for its flush, where that takes a while (docs/decisions/0016). 30 here and
 * 24 above left both cores idle for 0.28 of the time, these for 0.22, at 1.14 times the consumes a second and 1.2 times
 * those with 2 ms a commit (medians of 9 and 5 rounds, 64 clients); 12 made more flushes and nothing faster.
 */
export const ENOUGH_BESIDE = 20;
/**
 * Where a second group may go out the first takes half of the requests (and what its users ask for besides), but not
 * fewer. All at once came back all at once: while PostgreSQL decided them nobody else had anything to do.
 */
export const HALF_MIN = 32;
/**
 * Of the lane that has everybody. A bucket has one: its groups are small as it is. The third goes out only where a whole
 * one is waiting, as with batch requests: PostgreSQL then has work while this process reads the next requests. A fourth of
 * both consumes and changes, and what is decided apart, would be more than the pool has connections.
 */
export const GROUPS_OF_ALL_MAX = 3;
/** Each takes a connection; beyond this, what waits is better gathered into larger groups. */
export const GROUPS_AT_ONCE_MAX = 6;

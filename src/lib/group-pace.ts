/** When a group goes out (group-queue.ts), and how large it is. */

/**
 * With so many waiting the next group goes out before the last one is answered; with fewer it waits for what arrives in
 * this turn of the event loop.
 */
export const ENOUGH = 16;
/**
 * With so many waiting a second group goes out while the first is under way: the next is there when PostgreSQL is ready
 * for it, and is decided while the first waits for its flush, where that takes a while (docs/decisions/0016). 20 here and
 * 8 above made a sixth more flushes for as many consumes a second, and 0.96 of them with 2 ms a commit; 32 here was no
 * faster, and a service with fewer clients than twice that never gets there (two runs of 24 turns in one process).
 */
export const ENOUGH_BESIDE = 24;
/**
 * Where a second group may go out the first takes half of the requests (and what its users ask for besides, where they
 * cannot be in the second), but not fewer. All at once came back all at once: while PostgreSQL decided them nobody else
 * had anything to do.
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

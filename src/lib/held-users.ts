const NOBODY: readonly never[] = [];

/** Users of whom requests are being decided, with the requests that wait until they are. */
export class HeldUsers<Waiting> {
  /** By how many who hold a user alone, and by how many whose requests are decided in the order in which they are sent. */
  readonly #alone = new Map<string, number>();
  readonly #inOrder = new Map<string, number>();
  readonly #waiting = new Map<string, Waiting[]>();

  /**
   * Behind whoever waits already: in a row that goes on and on they would never have their turn.
   * @param isInOrder whether who asks would be decided after all that are held in order
   */
  mustWait(userId: string, isInOrder: boolean): boolean {
    return this.#alone.has(userId) || this.#waiting.has(userId) || (!isInOrder && this.#inOrder.has(userId));
  }

  hold(userId: string, isInOrder: boolean): void {
    const holders = isInOrder ? this.#inOrder : this.#alone;
    holders.set(userId, (holders.get(userId) ?? 0) + 1);
  }

  /** @param userId who is held */
  wait(userId: string, waiting: Waiting): void {
    const others = this.#waiting.get(userId);
    if (others) others.push(waiting);
    else this.#waiting.set(userId, [waiting]);
  }

  /** @returns those that may have their turn now, in the order in which they came: they ask again whether they must wait */
  letGo(userId: string, isInOrder: boolean): readonly Waiting[] {
    const holders = isInOrder ? this.#inOrder : this.#alone;
    const others = (holders.get(userId) ?? 1) - 1;
    if (others > 0) {
      holders.set(userId, others);
      return NOBODY;
    }
    holders.delete(userId);
    const waiting = this.#waiting.get(userId);
    if (!waiting) return NOBODY;
    this.#waiting.delete(userId);
    return waiting;
  }
}

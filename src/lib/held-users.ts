/** Users of whom requests are being decided, with the requests that wait until they are. */
export class HeldUsers<Waiting> {
  /** Most users have one request at a time: no list is made for them. */
  readonly #waiting = new Map<string, Waiting[] | null>();

  has(userId: string): boolean {
    return this.#waiting.has(userId);
  }

  hold(userId: string): void {
    if (!this.#waiting.has(userId)) this.#waiting.set(userId, null);
  }

  /** @param userId who is held */
  wait(userId: string, waiting: Waiting): void {
    const others = this.#waiting.get(userId);
    if (others) others.push(waiting);
    else this.#waiting.set(userId, [waiting]);
  }

  /** @returns those that waited, in the order in which they came */
  letGo(userId: string): readonly Waiting[] {
    const others = this.#waiting.get(userId) ?? [];
    this.#waiting.delete(userId);
    return others;
  }
}

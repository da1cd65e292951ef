/** Statements one behind the other on one connection, each sent before the one before it is answered. */
import type { QueryArrayConfig, QueryArrayResult } from 'pg';
import type { Pool, Transaction } from './database.ts';

/** The connection is the pool's, and held while anything is under way on it. Each statement is a transaction of its own. */
export class Pipeline {
  readonly #pool: Pool;
  #underWay = 0;
  #connecting: Promise<Transaction> | undefined;
  #connection: Transaction | undefined;
  #broken: Error | undefined;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  async query<Row extends unknown[]>(statement: QueryArrayConfig): Promise<QueryArrayResult<Row>> {
    this.#underWay++;
    this.#connecting ??= this.#connect();
    try {
      const connection = await this.#connecting;
      return await connection.query<Row>(statement);
    } catch (error) {
      // As the pool does with its own: a connection that the server has ended tells so after the statement does, and one
      // that knows a prepared statement of before would go on to fail.
      this.#broken ??= error instanceof Error ? error : new Error(String(error));
      throw error;
    } finally {
      this.#underWay--;
      if (this.#underWay === 0) this.#letGo();
    }
  }

  async #connect(): Promise<Transaction> {
    const connection = await this.#pool.connect();
    connection.on('error', this.#noteBreak);
    this.#connection = connection;
    return connection;
  }

  // The statements under way fail as well, so it is enough to note it; without a listener Node would end the process.
  readonly #noteBreak = (error: Error): void => {
    this.#broken = error;
  };

  #letGo(): void {
    this.#connection?.off('error', this.#noteBreak);
    this.#connection?.release(this.#broken);
    this.#connecting = undefined;
    this.#connection = undefined;
    this.#broken = undefined;
  }
}

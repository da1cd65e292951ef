/**
 * Statements over many users' rows, which go out as one array per column: PostgreSQL and Node both take a fraction of
 * the time that JSON takes them. Prepared once per connection.
 */
import { arrayOf, type ColumnType } from './arrays.ts';
import { bucketOf } from './bucket.ts';
import type { Transaction } from './database.ts';
import type { Lane } from './lanes.ts';

/** By the fields of a row. */
export type Columns<Field extends string> = Readonly<Record<Field, ColumnType>>;

/** The column of a field is its name in snake case. */
export const columnOf = (field: string): string =>
  field.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** A row, and whose it is. */
export interface OfUser<Row> {
  userId: string;
  row: Row;
}

/**
 * The parameter of the buckets, in a form that hides from PostgreSQL how many there are. A plan for few of them looks cheaper
 * to it than the one that it could keep, so it would plan each call anew: a fifth of what a change through the door takes
 * where they come one at a time (docs/decisions/0010).
 */
export const HIDDEN_BUCKETS = '(select $1::smallint[])';

/** In a statement's text: the set of rows `r`, and the bucket that a row of it is in. */
interface Words {
  rows: string;
  bucket: string;
}

interface Form {
  name: string;
  text: string;
}

/** A statement over the set of rows `r` with the columns `user_id` and those of `columns`. */
export class RowSetStatement<Field extends string, Row = Readonly<Record<Field, unknown>>> {
  readonly #columns: [Field, ColumnType][];
  readonly #ofAll: Form;
  readonly #ofOne: Form;

  /**
   * @param name of the prepared statement; another text needs another one
   * @param valueIn what a row has for a column: to make an object of all its columns first takes longer than all else
   */
  constructor(
    name: string,
    columns: Columns<Field>,
    textOf: (words: Words) => string,
    readonly valueIn = (row: Row, field: Field): unknown => (row as Record<Field, unknown>)[field],
  ) {
    this.#columns = Object.entries(columns) as [Field, ColumnType][];
    const names = ['user_id', ...this.#columns.map(([field]) => columnOf(field))].join(', ');
    const types: ColumnType[] = ['text', ...this.#columns.map(([, type]) => type)];
    const arrays = types.map((type, n) => `$${n + 2}::${type}[]`).join(', ');
    this.#ofAll = {
      name: `${name}_of_all`,
      text: textOf({
        rows: `unnest(${HIDDEN_BUCKETS}, ${arrays}) as r(bucket, ${names})`,
        bucket: 'r.bucket',
      }),
    };
    // Every equality of a bucket is with the one parameter: else Citus would ask every node.
    this.#ofOne = {
      name: `${name}_of_one`,
      text: textOf({ rows: `unnest(${arrays}) as r(${names})`, bucket: '$1' }),
    };
  }

  /**
   * Does nothing for no rows.
   * @param lane of all of their users
   * @throws Error where not exactly as many rows were written
   */
  async write(tx: Transaction, lane: Lane, rows: readonly OfUser<Row>[]): Promise<void> {
    if (rows.length === 0) return;
    const { rowCount } = await tx.query(this.#over(lane, rows));
    if (rowCount !== rows.length) throw new Error(`${rows.length} rows to write, ${rowCount} written.`);
  }

  /**
   * Asks nothing for no rows.
   * @param lane of all of their users
   */
  async read<Found extends object>(
    tx: Transaction,
    lane: Lane,
    rows: readonly OfUser<Row>[],
  ): Promise<Found[]> {
    if (rows.length === 0) return [];
    return (await tx.query<Found>(this.#over(lane, rows))).rows;
  }

  #over(lane: Lane, rows: readonly OfUser<Row>[]): Form & { values: unknown[] } {
    const { valueIn } = this;
    const values: unknown[] = [
      lane ?? arrayOf('smallint', rows, ({ userId }) => bucketOf(userId)),
      arrayOf('text', rows, ({ userId }) => userId),
    ];
    for (const [field, type] of this.#columns)
      values.push(arrayOf(type, rows, ({ row }) => valueIn(row, field)));
    return { ...(lane === null ? this.#ofAll : this.#ofOne), values };
  }
}

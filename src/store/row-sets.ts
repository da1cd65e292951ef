/**
 * Statements over many users' rows, which go out as one array per column: PostgreSQL and Node both take a fraction of
 * the time that JSON takes them. Prepared once per connection.
 */
import { bucketOf } from './bucket.ts';
import type { Transaction } from './database.ts';
import type { Lane } from './lanes.ts';

export type ColumnType =
  | 'text'
  | 'smallint'
  | 'bigint'
  | 'boolean'
  | 'timestamptz'
  | 'bytea'
  | 'jsonb'
  | 'grant_source'
  | 'entry_type'
  | 'hold_status';

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
export class RowSetStatement<Field extends string> {
  readonly #columns: [Field, ColumnType][];
  readonly #ofAll: Form;
  readonly #ofOne: Form;

  /** @param name of the prepared statement; another text needs another one */
  constructor(name: string, columns: Columns<Field>, textOf: (words: Words) => string) {
    this.#columns = Object.entries(columns) as [Field, ColumnType][];
    const names = ['user_id', ...this.#columns.map(([field]) => columnOf(field))].join(', ');
    const types: ColumnType[] = ['text', ...this.#columns.map(([, type]) => type)];
    const arrays = types.map((type, n) => `$${n + 2}::${type}[]`).join(', ');
    this.#ofAll = {
      name: `${name}_of_all`,
      text: textOf({ rows: `unnest($1::smallint[], ${arrays}) as r(bucket, ${names})`, bucket: 'r.bucket' }),
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
  async write(tx: Transaction, lane: Lane, rows: readonly OfUser<Record<Field, unknown>>[]): Promise<void> {
    if (rows.length === 0) return;
    const values = [
      lane ??
        arrayOf(
          'smallint',
          rows.map(({ userId }) => bucketOf(userId)),
        ),
      arrayOf(
        'text',
        rows.map(({ userId }) => userId),
      ),
      ...this.#columns.map(([field, type]) =>
        arrayOf(
          type,
          rows.map(({ row }) => row[field]),
        ),
      ),
    ];
    const { rowCount } = await tx.query({ ...(lane === null ? this.#ofAll : this.#ofOne), values });
    if (rowCount !== rows.length) throw new Error(`${rows.length} rows to write, ${rowCount} written.`);
  }
}

/** As PostgreSQL's text; null where every value is: `unnest` fills up what is short. */
export function arrayOf(type: ColumnType, values: readonly unknown[]): string | null {
  const write = WRITERS[type];
  let hasAny = false;
  const texts = values.map((value) => {
    if (value === null || value === undefined) return 'NULL';
    hasAny = true;
    return write(value);
  });
  return hasAny ? `{${texts.join(',')}}` : null;
}

const plain = (value: unknown): string => String(value);
const quoted = (text: string): string =>
  `"${/["\\]/.test(text) ? text.replaceAll(/["\\]/g, (character) => `\\${character}`) : text}"`;

const WRITERS: Record<ColumnType, (value: unknown) => string> = {
  text: (value) => quoted(String(value)),
  smallint: plain,
  bigint: plain,
  boolean: plain,
  timestamptz: (value) => `"${(value as Date).toISOString()}"`,
  bytea: (value) => `"\\\\x${(value as Buffer).toString('hex')}"`,
  jsonb: (value) => quoted(JSON.stringify(value)),
  grant_source: plain,
  entry_type: plain,
  hold_status: plain,
};

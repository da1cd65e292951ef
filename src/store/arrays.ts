/** Arrays as parameters, by the type of their elements. */

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

/**
 * Numbers and times in PostgreSQL's binary form, which it takes as it is: to read a time from text it takes a
 * microsecond. The rest as text.
 * @returns null where every value is: `unnest` fills up what is short
 */
export function arrayOf<Row>(
  type: ColumnType,
  rows: readonly Row[],
  read: (row: Row) => unknown,
): Buffer | string | null {
  let nulls = 0;
  for (const row of rows) if (isNull(read(row))) nulls++;
  if (nulls === rows.length) return null;
  const binary = BINARY[type];
  return binary ? binaryArray(rows, read, nulls, binary) : textArray(rows, read, TEXT[type] ?? String);
}

const isNull = (value: unknown): boolean => value === null || value === undefined;

interface Binary {
  oid: number;
  write(to: DataView, value: unknown, offset: number): void;
}

const TWO_32 = 2 ** 32;
const YEAR_2000_MS = Date.UTC(2000, 0);

function writeInteger(to: DataView, value: unknown, offset: number): void {
  const high = Math.floor((value as number) / TWO_32);
  to.setInt32(offset, high);
  to.setUint32(offset + 4, (value as number) - high * TWO_32);
}

/** Microseconds since 2000: beyond what a number holds exactly from the year 2285 on, so in two halves. */
function writeTime(to: DataView, value: unknown, offset: number): void {
  const ms = (value as Date).getTime() - YEAR_2000_MS;
  const high = Math.floor(ms / TWO_32);
  const low = (ms - high * TWO_32) * 1000;
  const carry = Math.floor(low / TWO_32);
  to.setInt32(offset, high * 1000 + carry);
  to.setUint32(offset + 4, low - carry * TWO_32);
}

const BINARY: Partial<Record<ColumnType, Binary>> = {
  bigint: { oid: 20, write: writeInteger },
  timestamptz: { oid: 1184, write: writeTime },
};

const WORD_BYTES = 4;
const VALUE_BYTES = 8;
const NULL_LENGTH = -1;

function binaryArray<Row>(
  rows: readonly Row[],
  read: (row: Row) => unknown,
  nulls: number,
  { oid, write }: Binary,
): Buffer {
  const dimensions = 1;
  const header = [dimensions, nulls > 0 ? 1 : 0, oid, rows.length, 1];
  const bytes = (header.length + rows.length) * WORD_BYTES + (rows.length - nulls) * VALUE_BYTES;
  const buffer = Buffer.allocUnsafe(bytes);
  const to = new DataView(buffer.buffer, buffer.byteOffset, bytes);
  let offset = 0;
  const word = (value: number): void => {
    to.setInt32(offset, value);
    offset += WORD_BYTES;
  };
  header.forEach(word);
  for (const row of rows) {
    const value = read(row);
    if (isNull(value)) word(NULL_LENGTH);
    else {
      word(VALUE_BYTES);
      write(to, value, offset);
      offset += VALUE_BYTES;
    }
  }
  return buffer;
}

const SPECIAL = /["\\]/;
const quoted = (text: string): string =>
  `"${SPECIAL.test(text) ? text.replaceAll(/["\\]/g, (character) => `\\${character}`) : text}"`;

const TEXT: Partial<Record<ColumnType, (value: unknown) => string>> = {
  text: (value) => quoted(String(value)),
  bytea: (value) => `"\\\\x${(value as Buffer).toString('hex')}"`,
  jsonb: (value) => quoted(JSON.stringify(value)),
};

function textArray<Row>(
  rows: readonly Row[],
  read: (row: Row) => unknown,
  write: (value: unknown) => string,
): string {
  let text = '';
  for (const row of rows) {
    const value = read(row);
    text += `,${isNull(value) ? 'NULL' : write(value)}`;
  }
  return `{${text.slice(1)}}`;
}

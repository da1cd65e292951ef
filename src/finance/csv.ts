/** CSV as RFC 4180 has it, and safe in a spreadsheet. */

export type Cell = string | number | boolean | null;

/** A text that begins like a formula is one to a spreadsheet (OWASP "CSV Injection"); numbers stay numbers. */
function cellText(value: Cell): string {
  if (value === null) return '';
  const text = typeof value === 'string' && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function csvLine(cells: readonly Cell[]): string {
  return `${cells.map(cellText).join(',')}\r\n`;
}

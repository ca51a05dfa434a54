/** The content of the sheet's cells: the text, or the requested sum. */

export const COLUMNS = ["A", "B", "C", "D"];
export const ROWS = [1, 2, 3, 4, 5, 6, 7];

const SUM = /^=SUM\(([A-D])([1-7]):([A-D])([1-7])\)$/i;

/** Sums of written numbers: a sum in a range counts as nothing, so that none can depend on itself. */
export function shown(written: string, cells: ReadonlyMap<string, string>): string {
  const range = SUM.exec(written.trim());
  if (range === null) return written;
  const [, left = "", top, right = "", bottom] = range;
  const columns = COLUMNS.filter((column) => left.toUpperCase() <= column && column <= right.toUpperCase());
  const rows = ROWS.filter((row) => Number(top) <= row && row <= Number(bottom));
  const numbers = columns.flatMap((column) => rows.map((row) => Number(cells.get(`${column}${row}`) ?? 0)));
  return String(numbers.filter(Number.isFinite).reduce((sum, number) => sum + number, 0));
}

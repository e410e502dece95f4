/** A plain table: the first row is the head, numbers stand on the right. */
export function table(rows: ReadonlyArray<readonly string[]>): string {
  const columns = Math.max(...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, c) =>
    Math.max(...rows.map((row) => (row[c] ?? '').length)),
  );
  const isNumber = widths.map((_, c) =>
    rows.slice(1).every((row) => /^[-+<>≤≥×]?\s?[\d.,]/.test(row[c] ?? '') || !row[c]),
  );
  const line = (row: readonly string[]): string =>
    widths
      .map((width, c) =>
        isNumber[c] === true && c > 0 ? (row[c] ?? '').padStart(width) : (row[c] ?? '').padEnd(width),
      )
      .join('  ')
      .trimEnd();
  const [head = [], ...body] = rows;
  return [line(head), widths.map((width) => '─'.repeat(width)).join('  '), ...body.map(line)].join('\n');
}

export function ms(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(value >= 10 ? 1 : 2);
}

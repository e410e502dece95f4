/** Lines kept around a change. */
const CONTEXT = 2;
/** Longest diff, in lines. */
const MAX_LINES = 200;
/** Cells of the table of common lines; above it what is in the middle is shown as replaced whole. */
const MAX_CELLS = 1_000_000;

type Step = readonly [mark: ' ' | '-' | '+', line: string];

/** What changed between two texts, line by line: `-` was, `+` is, two lines around; at most 200 lines. Empty when equal. */
export function lineDiff(before: string, after: string): string {
  if (before === after) return '';
  const steps = stepsBetween(before.split('\n'), after.split('\n'));
  const near = new Uint8Array(steps.length);
  for (let i = 0; i < steps.length; i++) {
    if (steps[i]![0] === ' ') continue;
    near.fill(1, Math.max(0, i - CONTEXT), Math.min(steps.length, i + CONTEXT + 1));
  }
  const lines: string[] = [];
  for (let i = 0; i < steps.length; i++) {
    if (near[i] === 1) lines.push(`${steps[i]![0]} ${steps[i]![1]}`);
    else if (near[i - 1] === 1) lines.push('  …');
  }
  if (lines.length <= MAX_LINES) return lines.join('\n');
  return [...lines.slice(0, MAX_LINES), `… and ${lines.length - MAX_LINES} more lines`].join('\n');
}

function stepsBetween(before: readonly string[], after: readonly string[]): Step[] {
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) start++;
  let end = 0;
  while (
    end < before.length - start &&
    end < after.length - start &&
    before.at(-1 - end) === after.at(-1 - end)
  )
    end++;
  const same = (lines: readonly string[]): Step[] => lines.map((line) => [' ', line]);
  return [
    ...same(before.slice(0, start)),
    ...changed(before.slice(start, before.length - end), after.slice(start, after.length - end)),
    ...same(before.slice(before.length - end)),
  ];
}

/** Longest common subsequence by the usual table. */
function changed(before: readonly string[], after: readonly string[]): Step[] {
  const [rows, columns] = [before.length, after.length];
  if (rows * columns > MAX_CELLS) {
    return [...before.map((line): Step => ['-', line]), ...after.map((line): Step => ['+', line])];
  }
  const width = columns + 1;
  const common = new Uint32Array((rows + 1) * width);
  for (let i = rows - 1; i >= 0; i--) {
    for (let j = columns - 1; j >= 0; j--) {
      common[i * width + j] =
        before[i] === after[j]
          ? common[(i + 1) * width + j + 1]! + 1
          : Math.max(common[(i + 1) * width + j]!, common[i * width + j + 1]!);
    }
  }
  const steps: Step[] = [];
  let [i, j] = [0, 0];
  while (i < rows || j < columns) {
    if (i < rows && j < columns && before[i] === after[j]) {
      steps.push([' ', before[i]!]);
      i++;
      j++;
    } else if (i < rows && (j === columns || common[(i + 1) * width + j]! >= common[i * width + j + 1]!)) {
      steps.push(['-', before[i++]!]);
    } else {
      steps.push(['+', after[j++]!]);
    }
  }
  return steps;
}

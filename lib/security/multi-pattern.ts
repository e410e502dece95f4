/** Finds where any of many texts occurs, in one pass over the text however many there are (Aho and Corasick, 1975). */
export interface MultiPattern {
  /** Stretches covered by at least one pattern, as [start, end) pairs in order; overlapping and touching ones joined. */
  spans(text: string): number[];
}

/** A state of the automaton: the text read so far ends with this prefix of a pattern, and with no longer one. */
interface Node {
  readonly next: Map<number, Node>;
  fail: Node | undefined;
  readonly depth: number;
  /** Length of the longest pattern that ends here. */
  length: number;
}

const ASCII = 128;

export function createMultiPattern(patterns: Iterable<string>): MultiPattern {
  const root = node(0);
  for (const pattern of patterns) insert(root, pattern);
  link(root);
  // Most text is far from any pattern: a table tells at once which characters can begin one.
  const begins = new Uint8Array(ASCII);
  let others = false;
  for (const unit of root.next.keys()) {
    if (unit < ASCII) begins[unit] = 1;
    else others = true;
  }
  return {
    spans(text) {
      const found: number[] = [];
      let at = root;
      for (let i = 0; i < text.length; i++) {
        const unit = text.charCodeAt(i);
        if (at === root && (unit < ASCII ? begins[unit] === 0 : !others)) continue;
        let next = at.next.get(unit);
        while (next === undefined && at.fail !== undefined) {
          at = at.fail;
          next = at.next.get(unit);
        }
        at = next ?? root;
        if (at.length > 0) cover(found, i + 1 - at.length, i + 1);
      }
      return found;
    },
  };
}

/** Ends come in rising order; a new stretch may swallow earlier ones. */
function cover(found: number[], start: number, end: number): void {
  let from = start;
  while (found.length > 0 && found.at(-1)! >= from) {
    found.pop();
    from = Math.min(from, found.pop()!);
  }
  found.push(from, end);
}

function node(depth: number): Node {
  return { next: new Map(), fail: undefined, depth, length: 0 };
}

function insert(root: Node, pattern: string): void {
  let at = root;
  for (let i = 0; i < pattern.length; i++) {
    const unit = pattern.charCodeAt(i);
    let next = at.next.get(unit);
    if (next === undefined) {
      next = node(at.depth + 1);
      at.next.set(unit, next);
    }
    at = next;
  }
  at.length = at.depth;
}

/** Breadth first: where to go on when no pattern continues, and which shorter pattern ends here too. */
function link(root: Node): void {
  const queue: Node[] = [...root.next.values()];
  for (const child of queue) child.fail = root;
  for (let head = 0; head < queue.length; head++) {
    const at = queue[head]!;
    for (const [unit, child] of at.next) {
      let fail = at.fail;
      while (fail !== undefined && !fail.next.has(unit)) fail = fail.fail;
      child.fail = fail?.next.get(unit) ?? root;
      child.length = Math.max(child.length, child.fail.length);
      queue.push(child);
    }
  }
}

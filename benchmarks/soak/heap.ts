import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Bytes in use after a full collection, again and again; the first and the last quarter tell whether it grows. */
export interface HeapWatch {
  sample(): void;
  readonly firstQuarter: number;
  readonly lastQuarter: number;
  readonly samples: number;
}

export function watchHeap(): HeapWatch {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const samples: number[] = [];
  const mean = (part: readonly number[]): number => part.reduce((a, b) => a + b, 0) / part.length;
  const quarter = (): number => Math.max(1, Math.floor(samples.length / 4));
  return {
    sample() {
      collect();
      samples.push(process.memoryUsage().heapUsed);
    },
    get firstQuarter() {
      return mean(samples.slice(0, quarter()));
    },
    get lastQuarter() {
      return mean(samples.slice(-quarter()));
    },
    get samples() {
      return samples.length;
    },
  };
}

import { describe, expect, it } from '@jest/globals';
import { Subject, firstValueFrom, map, of, take, toArray } from 'rxjs';
import { harmless } from '../../lib/engine/harmless.ts';
import { hostHearsNothing, pause } from '../support/engines.ts';

hostHearsNothing();

const fault = (): never => {
  throw new Error('a defect of the host');
};

describe('a harmless stream', () => {
  it('goes on for all when one subscriber throws, and tells it once', async () => {
    const source = new Subject<number>();
    const faults: unknown[] = [];
    const stream = harmless(source, (error) => faults.push(error));
    const seen: number[] = [];
    stream.subscribe(fault);
    stream.subscribe({ next: fault, complete: fault });
    stream.subscribe((value) => seen.push(value));
    source.next(1);
    source.next(2);
    source.complete();
    // RxJS would throw it in a turn of its own.
    await pause(5);
    expect(seen).toEqual([1, 2]);
    expect(faults).toHaveLength(2);
  });

  it('hands on values, the end and the unsubscribing', () => {
    const source = new Subject<number>();
    const stream = harmless(source, fault);
    const heard: unknown[] = [];
    const subscription = stream.subscribe({ next: (value) => heard.push(value) });
    stream.subscribe(
      () => {},
      () => {},
      () => heard.push('end'),
    );
    source.next(1);
    subscription.unsubscribe();
    source.next(2);
    source.complete();
    expect(heard).toEqual([1, 'end']);
    expect(source.observed).toBe(false);
  });

  it('hands on errors', () => {
    const source = new Subject<number>();
    const heard: unknown[] = [];
    harmless(source, fault).subscribe({ error: (error: unknown) => heard.push(error) });
    source.error('lost');
    expect(heard).toEqual(['lost']);
  });

  it('takes operators, whose own errors stay errors of the stream', async () => {
    const stream = harmless(of(1, 2, 3), fault);
    expect(await firstValueFrom(stream.pipe(take(2), toArray()))).toEqual([1, 2]);
    await expect(firstValueFrom(stream.pipe(map(fault)))).rejects.toThrow('a defect of the host');
  });
});

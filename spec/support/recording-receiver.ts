import type { TroupeError } from '../../lib/core/errors.ts';
import type { RequestId, RpcMessage } from '../../lib/core/json-rpc.ts';
import type { ChannelReceiver } from '../../lib/mcp/wire/channel.ts';

export interface RecordingReceiver extends ChannelReceiver {
  readonly messages: RpcMessage[];
  readonly unanswered: Array<readonly [RequestId, TroupeError]>;
  readonly closes: TroupeError[];
  readonly oddities: TroupeError[];
  /** Resolves once `holds` is true after something was reported; rejects after `limitMs` (default 10 s), saying what there is. */
  until(holds: () => boolean, limitMs?: number): Promise<void>;
}

/** Keeps what a channel reports, in order of each kind. */
export function createRecordingReceiver(): RecordingReceiver {
  const waiting = new Set<() => void>();
  const told = (): void => {
    for (const check of waiting) check();
  };
  const receiver: RecordingReceiver = {
    messages: [],
    unanswered: [],
    closes: [],
    oddities: [],
    onMessage(message) {
      receiver.messages.push(message);
      told();
    },
    onUnanswered(id, error) {
      receiver.unanswered.push([id, error]);
      told();
    },
    onClose(error) {
      receiver.closes.push(error);
      told();
    },
    onOddity(error) {
      receiver.oddities.push(error);
      told();
    },
    until(holds, limitMs = 10_000) {
      return new Promise((resolve, reject) => {
        const done = (): void => {
          clearTimeout(timer);
          waiting.delete(check);
        };
        const check = (): void => {
          if (!holds()) return;
          done();
          resolve();
        };
        const timer = setTimeout(() => {
          done();
          const { messages, unanswered, closes, oddities } = receiver;
          const errors = [...unanswered.map(([, error]) => error), ...closes, ...oddities];
          reject(
            new Error(
              `not seen within ${limitMs} ms; there are ${messages.length} messages and: ${errors.map(String).join('; ')}`,
            ),
          );
        }, limitMs);
        waiting.add(check);
        check();
      });
    },
  };
  return receiver;
}

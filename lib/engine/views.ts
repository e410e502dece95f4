import { Observable, ReplaySubject, Subject } from 'rxjs';
import type { Connection } from '../connection/connection.ts';
import type { ServerProcess } from '../connection/server-process.ts';
import type { ConnectionState } from '../core/events.ts';
import type { ConnectionView, ProcessView } from './contract.ts';
import { harmless } from './harmless.ts';
import type { Replica } from './replica.ts';
import type { Server } from './server.ts';

/** Connections as streams. One subject per connection, made when first asked for. */
export class Views {
  // By the object, not by its id: one that takes the place of another has the same.
  readonly #states = new WeakMap<Connection, Subject<ConnectionState>>();
  readonly #onFault: (error: unknown) => void;

  constructor(onFault: (error: unknown) => void) {
    this.#onFault = onFault;
  }

  view(server: Server, replica: Replica): ConnectionView {
    const { connection } = replica;
    const states = this.#stream(connection);
    const onFault = this.#onFault;
    return {
      id: connection.id,
      server: server.name,
      get state() {
        return connection.state;
      },
      state$: harmless(
        new Observable((subscriber) => {
          subscriber.next(connection.state);
          return states.subscribe(subscriber);
        }),
        onFault,
      ),
      get process() {
        return replica.process === undefined ? undefined : processView(replica.process, onFault);
      },
    };
  }

  moved(connection: Connection, to: ConnectionState): void {
    this.#states.get(connection)?.next(to);
  }

  /** The connection was stopped or removed: its stream completes. */
  end(connection: Connection): void {
    this.#stream(connection).complete();
  }

  #stream(connection: Connection): Subject<ConnectionState> {
    let subject = this.#states.get(connection);
    if (subject === undefined) {
      subject = new Subject();
      this.#states.set(connection, subject);
    }
    return subject;
  }
}

function processView(process: ServerProcess, onFault: (error: unknown) => void): ProcessView {
  return {
    get state() {
      return process.state;
    },
    state$: harmless(
      new Observable((subscriber) => {
        const states = new ReplaySubject<ServerProcess['state']>(1);
        const end = process.subscribe((state) => {
          states.next(state);
          if (state === 'Stopped') states.complete();
        });
        states.next(process.state);
        if (process.state === 'Stopped') states.complete();
        const subscription = states.subscribe(subscriber);
        return () => {
          end();
          subscription.unsubscribe();
        };
      }),
      onFault,
    ),
    get pid() {
      return process.pid;
    },
    get exit() {
      return process.exit;
    },
  };
}

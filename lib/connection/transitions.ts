import type { ConnectionState, ProcessState } from '../core/events.ts';

export interface Transition<State extends string> {
  readonly from: State;
  readonly event: string;
  readonly to: State;
}

/** Every transition a connection can make; no other is ever seen. The machine is checked against it, both ways. */
export const CONNECTION_TRANSITIONS: ReadonlyArray<Transition<ConnectionState>> = [
  { from: 'Disconnected', event: 'connect', to: 'Connecting' },
  { from: 'Connecting', event: 'opened', to: 'Initializing' },
  { from: 'Connecting', event: 'failed', to: 'Error' },
  { from: 'Connecting', event: 'challenged', to: 'AuthRequired' },
  { from: 'Connecting', event: 'disconnect', to: 'Disconnecting' },
  { from: 'Initializing', event: 'initialized', to: 'Connected' },
  { from: 'Initializing', event: 'reopened', to: 'Connecting' },
  { from: 'Initializing', event: 'failed', to: 'Error' },
  { from: 'Initializing', event: 'challenged', to: 'AuthRequired' },
  { from: 'Initializing', event: 'disconnect', to: 'Disconnecting' },
  { from: 'Connected', event: 'lost', to: 'Error' },
  { from: 'Connected', event: 'challenged', to: 'AuthRequired' },
  { from: 'Connected', event: 'disconnect', to: 'Disconnecting' },
  { from: 'Disconnecting', event: 'closed', to: 'Disconnected' },
  { from: 'Error', event: 'retry', to: 'Connecting' },
  { from: 'Error', event: 'connect', to: 'Connecting' },
  { from: 'Error', event: 'disconnect', to: 'Disconnecting' },
  { from: 'AuthRequired', event: 'authorized', to: 'Connecting' },
  { from: 'AuthRequired', event: 'disconnect', to: 'Disconnecting' },
];

/** The same of a server process, or of an in-process server. */
export const PROCESS_TRANSITIONS: ReadonlyArray<Transition<ProcessState>> = [
  { from: 'Created', event: 'start', to: 'Starting' },
  { from: 'Created', event: 'stop', to: 'Stopped' },
  { from: 'Starting', event: 'launched', to: 'Running' },
  { from: 'Starting', event: 'failed', to: 'Stopped' },
  { from: 'Starting', event: 'stop', to: 'Stopping' },
  { from: 'Running', event: 'exited', to: 'Stopped' },
  { from: 'Running', event: 'stop', to: 'Stopping' },
  { from: 'Stopping', event: 'stopped', to: 'Stopped' },
];

/**
 * How often each stage of the request path has done its part, since the engine was made: one integer per stage, counted
 * by the stage itself at the place where it works. A sum costs a nanosecond, so it is kept always; it shows that nothing
 * on the path was left out, and in a bug report where requests end. A request that a stage never saw is not in its number.
 */
export interface Stages {
  /** Operations put under a deadline. */
  deadline: number;
  /** Intents put on record; 0 without an audit trail. */
  audit: number;
  /** Requests held against the policy; 0 without one. */
  policy: number;
  /** Requests that retry watches over: once each, however many attempts follow. */
  retry: number;
  /** Replicas picked: attempts, hedges and what moved to another replica. */
  pick: number;
  /** Slots of replicas taken. */
  slot: number;
  /** Outcomes that a circuit breaker has reckoned with. */
  breaker: number;
  /** Ends of operations told to listeners; 0 where nobody listens. */
  event: number;
}

/** All at zero. One shape for all engines, so that adding to a field stays as cheap as it is. */
export function createStages(): Stages {
  return { deadline: 0, audit: 0, policy: 0, retry: 0, pick: 0, slot: 0, breaker: 0, event: 0 };
}

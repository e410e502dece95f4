import type { Clock } from '../core/clock.ts';
import { TroupeError } from '../core/errors.ts';
import type { Handler, Interceptor, Response } from '../core/interceptor.ts';
import { type Json, isJson } from '../core/json-rpc.ts';
import { type Request, amend } from '../core/request.ts';
import { pauseBy, type Pause } from './pause.ts';

/** What a server wants to know before it goes on: `elicitation/create`, `sampling/createMessage`, `roots/list`. */
export interface InputRequest {
  readonly method: string;
  readonly params: Json | undefined;
}

export interface InputRoundsOptions {
  readonly clock: Clock;
  /**
   * Answers one question of a server; `request.cancellation` ends with the round. A rejection ends the operation, and
   * with it the other questions of the round.
   */
  readonly answer: (request: Request, key: string, input: InputRequest) => Promise<Json>;
  /** Rounds of one operation. The engine gives `limits.inputRounds`, 10 (the official SDKs). */
  readonly maxRounds: (request: Request) => number;
  /** How a layer waits. Default: by `clock`, as long as it takes. */
  readonly pause?: Pause | undefined;
}

/** Questions of one round answered at the same time. */
const ANSWERS_AT_ONCE = 4;
/** A server that only wants to be asked again (load shedding) is, after this pause, milliseconds (SDK client: 250). */
const BARE_ROUND_PAUSE_MS = 250;

/** The only methods whose results may ask back (2026-07-28). */
const MAY_ASK: ReadonlySet<string> = new Set(['tools/call', 'prompts/get', 'resources/read']);

/**
 * Carries an operation through its `input_required` rounds: answers what the server asks and repeats the same request
 * with the answers and the server's `requestState`, byte for byte. Each round is a pick of its own, on any replica,
 * and no retry: it spends nothing of the budget. A result without `resultType` is complete, one of an unknown type is
 * `invalid_response`.
 */
export function inputRounds(options: InputRoundsOptions): Interceptor {
  // Not async: a frame costs as much as the rest of this layer, for the many that are not asked back.
  return (next) => {
    const goOn = (request: Request, first: Response): Promise<Response> =>
      furtherRounds(next, request, first, options);
    return (request) =>
      next(request).then((response) => {
        const type = response['resultType'];
        return type === undefined || type === 'complete' ? response : goOn(request, response);
      });
  };
}

async function furtherRounds(
  next: Handler,
  request: Request,
  first: Response,
  options: InputRoundsOptions,
): Promise<Response> {
  const maxRounds = options.maxRounds(request);
  let response = first;
  for (let round = 1; wantsInput(request, response); round++) {
    if (round > maxRounds) {
      throw failed(
        request,
        'limit_exceeded',
        `${nameOf(request)} still asks for input after ${maxRounds} rounds`,
      );
    }
    const { questions, state } = readRound(request, response);
    try {
      const answers = await answersTo(request, questions, options);
      request.facts.rounds++;
      response = await next(amend(request, { params: nextParams(request.params, answers, state) }));
    } catch (error) {
      // Whatever became of this round: the server has seen the operation, and answered.
      const reason = TroupeError.from(error, { server: request.server });
      throw reason.delivery === 'unsent' ? reason.with({ delivery: 'answered' }) : reason;
    }
  }
  return response;
}

function wantsInput(request: Request, response: Response): boolean {
  const type = response['resultType'];
  if (type === undefined || type === 'complete') return false;
  if (type !== 'input_required') {
    throw failed(
      request,
      'invalid_response',
      `${nameOf(request)} has a result of unknown type ${JSON.stringify(type)}`,
    );
  }
  if (MAY_ASK.has(request.method)) return true;
  throw failed(request, 'invalid_response', `${request.method} must not be answered with input_required`);
}

interface Round {
  readonly questions: ReadonlyArray<readonly [key: string, input: InputRequest]>;
  readonly state: string | undefined;
}

function readRound(request: Request, response: Response): Round {
  const { inputRequests = {}, requestState: state } = response;
  const invalid = (what: string): TroupeError =>
    failed(request, 'invalid_response', `${nameOf(request)} asks for input, but ${what}`);
  if (!isJson(inputRequests)) throw invalid('`inputRequests` is no object');
  if (state !== undefined && typeof state !== 'string') throw invalid('`requestState` is no string');
  const questions = Object.entries(inputRequests).map(([key, input]) => {
    if (!isJson(input) || typeof input['method'] !== 'string')
      throw invalid(`request "${key}" has no method`);
    const { method, params } = input;
    if (params !== undefined && !isJson(params))
      throw invalid(`the params of request "${key}" are no object`);
    return [key, { method, params }] as const;
  });
  return { questions, state };
}

async function answersTo(
  request: Request,
  questions: Round['questions'],
  { answer, clock, pause = pauseBy(clock) }: InputRoundsOptions,
): Promise<Json | undefined> {
  if (questions.length === 0) {
    await pause(BARE_ROUND_PAUSE_MS, request.cancellation);
    return undefined;
  }
  const cancellation = request.cancellation.child();
  const asked = amend(request, { cancellation });
  const answers = new Map<string, Json>();
  const left = questions.values();
  // As many takers as may work at the same time, all taking from one line.
  const taker = async (): Promise<void> => {
    for (const [key, input] of left) {
      cancellation.throwIfCancelled();
      answers.set(key, await answer(asked, key, input));
    }
  };
  // A host that goes on thinking does not hold up a caller who has left.
  const ended = cancellation.waiting();
  try {
    const takers = Array.from({ length: Math.min(ANSWERS_AT_ONCE, questions.length) }, taker);
    await Promise.race([Promise.all(takers), ended.promise]);
  } catch (error) {
    const reason = TroupeError.from(error, { server: request.server });
    cancellation.cancel(reason);
    throw reason;
  } finally {
    ended.done();
    cancellation.release();
  }
  return Object.fromEntries(questions.map(([key]) => [key, answers.get(key)]));
}

/** The same request again; answers belong to one round and are not kept for the next. */
function nextParams(params: Json | undefined, answers: Json | undefined, state: string | undefined): Json {
  const { inputResponses: _answers, requestState: _state, ...original } = params ?? {};
  return {
    ...original,
    ...(answers !== undefined && { inputResponses: answers }),
    ...(state !== undefined && { requestState: state }),
  };
}

function nameOf({ method, target }: Request): string {
  return target === undefined ? method : `${method} ${target}`;
}

function failed(request: Request, code: 'limit_exceeded' | 'invalid_response', detail: string): TroupeError {
  const { server, facts, attempt } = request;
  return new TroupeError(code, detail, {
    server,
    connection: facts.connection,
    attempt,
    delivery: 'answered',
  });
}

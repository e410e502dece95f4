export type Transport = 'stdio' | 'streamable-http' | 'sse' | 'websocket' | 'in-process';

/** Where a row is held: a spec file, and in it the test of this title; without a title the test that names the row. */
export interface Held {
  readonly spec: string;
  readonly test?: string;
}

/** One way in which a server may be hostile or broken, and what must come of it. */
export interface Row {
  /** Section and number: 2.x is what the official client was seen to do wrong, 3 the list of threats. */
  readonly id: string;
  readonly statement: string;
  /** Where it can happen; `any`: decided above the transports. */
  readonly transports: readonly Transport[] | 'any';
  readonly held: readonly [Held, ...Held[]];
}

const ALL = ['stdio', 'streamable-http', 'sse', 'websocket', 'in-process'] as const;
/** In this process messages are objects: they have no bytes, and the code that makes them is the host's own. */
const BYTES = ['stdio', 'streamable-http', 'sse', 'websocket'] as const;
const HTTP = ['streamable-http'] as const;
const PROCESS = ['stdio'] as const;

/** The suite that runs each of its rows on every transport named here. */
export const MATRIX = 'spec/contract/hostile-servers.spec.ts';
const matrix: Held = { spec: MATRIX };
const held = (spec: string, test: string): Held => ({ spec: `spec/${spec}.spec.ts`, test });
const row = (
  id: string,
  statement: string,
  transports: Row['transports'],
  ...places: readonly [Held, ...Held[]]
): Row => ({ id, statement, transports, held: places });

const WIRE = 'mcp/wire/validators';
const WEB = 'mcp/transports/streamable-http';
const STDIO = 'mcp/transports/stdio';
const BAD = 'engine/bad-servers';
const AUTH = 'engine/authorization';

/** Every row that concerns a client. What concerns listening servers waits for the gateway. */
export const ROWS: readonly Row[] = [
  // Messages
  row('2.1-01', 'garbage among messages is reported and skipped', ALL, matrix),
  row(
    '2.1-02',
    'a flood of garbage is survived and counted, not reported line by line',
    PROCESS,
    held(BAD, 'floods stdout with garbage'),
  ),
  row('2.1-03', 'of two answers the first counts, and the second is in no report', ALL, matrix),
  row('2.1-04', 'answers that nobody asked for reach nobody', ALL, matrix),
  row(
    '2.1-05',
    'an id of another type is no answer',
    ALL,
    matrix,
    held(WEB, 'do not confuse the id 1 with the id "1"'),
  ),
  row('2.1-06', 'a malformed answer ends its request at once', ALL, matrix),
  row('2.1-07', 'a result that is no object ends its request at once', ALL, matrix),
  row('2.1-08', 'nothing is invented where a result has no content', ALL, matrix),
  row('2.1-09', 'a late answer reaches nobody, and is in no report', ALL, matrix),
  row('2.1-10', 'opening ends in time where nobody answers', ALL, matrix),
  row(
    '2.1-11',
    'a connection that breaks ends its calls at once, and comes back',
    ALL,
    matrix,
    held(STDIO, 'names the exit code and the last lines of stderr'),
  ),
  row(
    '2.1-12',
    'a server that closes stdout and lives on is lost',
    PROCESS,
    held(STDIO, 'is seen when stdout is closed and the process lives'),
  ),
  row('2.1-13', 'an answer of 5 MB arrives', ALL, matrix),
  row(
    '2.1-14',
    'an answer above the limit fails, and the server can be asked again',
    BYTES,
    matrix,
    held(STDIO, 'of 20 MB end the one request they belong to; the channel lives'),
  ),
  row(
    '2.1-15',
    'a long line is read in linear time',
    PROCESS,
    held(STDIO, 'of 100 MB are read in linear time where they are allowed'),
  ),
  row('2.1-16', 'a message without end does not fill the memory', BYTES, matrix),
  row('2.1-17', 'an answer nested too deeply fails, and is handed to nobody', BYTES, matrix),
  row('2.1-18', 'no key of a message reaches a prototype', ALL, matrix),
  row('2.1-19', 'an error text of a server is one bounded line without control characters', ALL, matrix),
  row('2.1-20', 'one bad tool hides no other', ALL, matrix, held(BAD, 'has malformed tools among good ones')),
  row('2.1-21', 'of two tools of one name one is listed', ALL, matrix),
  row('2.1-22', 'pages without end are cut', ALL, matrix),
  row('2.1-23', 'pages share one deadline', ALL, matrix),
  row('2.1-24', 'a quarter of a million tools are cut without harm', ALL, matrix),
  row('2.1-25', 'progress does not put a deadline off', ALL, matrix),
  row('2.1-26', 'progress that comes with its answer is delivered', ALL, matrix),
  row(
    '2.1-27',
    'a child has the environment that it was given and no other',
    PROCESS,
    held(
      'mcp/process',
      'gives arguments to the program as they are, with the environment and folder told and no other',
    ),
  ),

  // Processor, memory, processes
  row('2.2-01', 'a flood of notifications is cut before it is read', ALL, matrix),
  row('2.2-02', 'a storm of list_changed costs a few lists', ALL, matrix),
  row(
    '2.2-03',
    'a flood of pings to a client costs a bounded queue',
    ALL,
    matrix,
    held(STDIO, 'gets no more than the write queue holds; then sends are refused as unsent'),
  ),
  row(
    '2.2-04',
    'a server that does not read fills no memory',
    ['stdio', 'websocket', 'streamable-http'],
    held(STDIO, 'gets no more than the write queue holds; then sends are refused as unsent'),
    held('mcp/transports/websocket', 'refuses to queue without end for a server that does not read'),
    held(WEB, 'messages that wait for a socket are bounded in bytes, and free them when given up'),
  ),
  row('2.2-05', 'a thousand calls at once give no warning', ALL, matrix),
  row('2.2-06', 'two hundred calls that share a signal give no warning, and leave no listener', ALL, matrix),
  row('2.2-07', 'of a flood of requests to the host few are answered at once', ALL, matrix),
  row(
    '2.2-08',
    'a server that writes much to stderr is not blocked',
    PROCESS,
    held(STDIO, 'of 1 MB does not block the server, and is bounded in the error'),
  ),
  row(
    '2.2-09',
    'a server that ignores the end of stdin is ended',
    PROCESS,
    held('mcp/process', 'sends SIGTERM to one that ignores the end of stdin'),
  ),
  row(
    '2.2-10',
    'a server that ignores SIGTERM, or stands still, is ended',
    PROCESS,
    held('mcp/process', 'kills one that ignores that too, and not before'),
    held('mcp/process', 'ends one that is stopped'),
  ),
  row(
    '2.2-11',
    'what a server started ends with it',
    PROCESS,
    held('mcp/process', 'ends what the process started, also when that holds its pipes open'),
  ),
  row(
    '2.2-12',
    'closing ends although a grandchild holds the pipes',
    PROCESS,
    held('mcp/process', 'ends what the process started, also when that holds its pipes open'),
  ),
  row(
    '2.2-13',
    'death is seen although a grandchild holds the pipes',
    PROCESS,
    held(STDIO, 'is seen although a grandchild holds the pipes'),
  ),
  row(
    '2.2-14',
    'a server that could not be opened is ended',
    PROCESS,
    held('engine/lifecycle', 'takes the grace time once, not again for a server that will not end'),
  ),
  row(
    '2.2-15',
    'no process outlives its host',
    PROCESS,
    held('mcp/process', 'by %s takes all process groups with it'),
  ),
  row(
    '2.2-16',
    'times that no timer can hold are refused',
    'any',
    held('engine/bad-host', 'refuses a timeout that no timer can hold, before anything is sent'),
  ),
  row(
    '2.2-17',
    'one process at a time, also where the era is looked for',
    PROCESS,
    held('engine/lifecycle', 'spawns one process at a time where a server ends on the probe'),
  ),
  row('2.2-18', 'nothing is printed', 'any', held(WIRE, 'prints nothing a server wrote')),

  // Schemas
  row('2.3-01', 'ten thousand tools are listed within a moment', ALL, matrix),
  row(
    '2.3-02',
    'the schema of the tool called is compiled, and no other',
    'any',
    held(WIRE, 'compiles at the first check and knows equal schemas by their content'),
  ),
  row('2.3-03', 'a result is checked although nobody has listed the tools', ALL, matrix),
  row('2.3-04', 'a pattern that takes exponential time blocks nothing', ALL, matrix),
  row('2.3-05', 'a schema that doubles with each level blocks nothing', ALL, matrix),
  row('2.3-06', 'a reference to another host is not followed', ALL, matrix),
  row(
    '2.3-07',
    'a schema that changed under its $id is the new one',
    'any',
    held(WIRE, 'keeps two servers with one `$id` apart, and a schema that changed under its `$id`'),
  ),
  row(
    '2.3-08',
    'two servers may use one $id',
    'any',
    held(WIRE, 'keeps two servers with one `$id` apart, and a schema that changed under its `$id`'),
  ),
  row('2.3-09', 'a hundred thousand wrong items are one short error', ALL, matrix),
  row('2.3-10', 'a format nobody knows is not printed', ALL, matrix),
  row(
    '2.3-11',
    'compiled schemas are kept in bounded number and size',
    'any',
    held(WIRE, 'keeps a bounded number, and a bounded size'),
  ),

  // HTTP
  row(
    '2.4-01',
    'a call that was given up leaves nothing open at the server',
    HTTP,
    held(WEB, 'closes the response stream: ten forgotten calls leave nothing open at the server'),
  ),
  row(
    '2.4-02',
    'nor does one that was aborted',
    HTTP,
    held(WEB, 'also when somebody else sends the cancellation'),
  ),
  row(
    '2.4-03',
    'a body that never ends is cut',
    HTTP,
    held(WEB, 'with a body without end are cut off'),
    held(WEB, 'every byte puts silence off'),
  ),
  row('2.4-04', 'a body above the limit fails its request', HTTP, matrix),
  row(
    '2.4-05',
    'a compressed body counts as what it unpacks to',
    HTTP,
    matrix,
    held(WEB, 'counts what a compressed body unpacks to'),
  ),
  row(
    '2.4-06',
    'an event above the limit ends its stream',
    ['streamable-http', 'sse'],
    held(WEB, 'an event larger than a message may be ends its stream only'),
    held('mcp/transports/sse', 'closes when an event is too large'),
  ),
  row(
    '2.4-07',
    'of the body of a refusal 2 KB are read',
    HTTP,
    matrix,
    held('mcp/transports/http-refusal', 'is read as far as it is of use: 2 KB of text, 64 KB of JSON'),
  ),
  row('2.4-08', 'a stream that ends without an answer ends its request at once', HTTP, matrix),
  row(
    '2.4-09',
    'a request that is accepted or answered with another id fails at once',
    HTTP,
    held(BAD, 'answers with another id over HTTP'),
    held(BAD, '%s'),
  ),
  row(
    '2.4-10',
    'a reset, a cut body and a refused connection are told apart',
    HTTP,
    held(WEB, 'a socket that dies before the response may have done its work'),
    held(WEB, 'a body that is cut off leaves its request unanswered'),
    held(WEB, 'a refused connection is unsent'),
  ),
  row('2.4-11', 'an answer of a wrong type fails at once', HTTP, held(BAD, 'answers with a page for people')),
  row('2.4-12', 'each status has its error, and Retry-After is told', HTTP, held(WEB, 'HTTP %i %p')),
  row('2.4-13', 'nothing is sent twice for 421', HTTP, held(WEB, '421 does not send a second time')),
  row('2.4-14', 'a lost session is opened anew', HTTP, held('mcp/transports/http-refusal', 'a lost session')),
  row(
    '2.4-15',
    'a server that refuses every token is not asked for ever',
    HTTP,
    held(AUTH, 'ends after two authorizations that the server does not take'),
    held(WEB, 'that cannot help lead to auth_required, also the second time'),
  ),
  row(
    '2.4-16',
    'redirects to another origin are not followed',
    HTTP,
    held(WEB, 'to another origin are not followed, and nothing is sent there'),
  ),
  row(
    '2.4-17',
    'there is no way to have them followed',
    HTTP,
    held(WEB, '%i are not followed once the channel is open'),
  ),
  row(
    '2.4-18',
    'metadata at a private address is not fetched, and gets no header of ours',
    HTTP,
    held(AUTH, 'metadata at %s is not fetched'),
    held(AUTH, 'configured headers go to no authorization server'),
  ),
  row(
    '2.4-19',
    'people are sent to https only',
    HTTP,
    held('engine/guards', 'a person is sent to no page but https: %s'),
  ),
  row(
    '2.4-20',
    'metadata that never ends does not hang the opening',
    HTTP,
    held(AUTH, 'metadata that never ends does not hang the opening'),
  ),
  row(
    '2.4-21',
    'a notification stream that ends at once is opened once a second',
    ['streamable-http'],
    held('mcp/transports/http-notifications', 'does not spin when the server ends it at once every time'),
  ),
  row(
    '2.4-22',
    'a response stream is resumed for a request that waits, and for no other',
    HTTP,
    held(
      'mcp/transports/http-outgoing',
      'does not spin when the server ends it at once every time: three times promptly, then once a second',
    ),
    held(
      'mcp/transports/http-outgoing',
      'is not resumed once its answer has come, or its request was forgotten while it waits',
    ),
  ),
  row(
    '2.4-23',
    'thousands of calls one after the other leave no listener',
    HTTP,
    held('engine/bad-host', 'leaves no listener on a signal that lives on'),
  ),
  row(
    '2.4-24',
    'an answer on the stream of another request is none',
    HTTP,
    held(WEB, 'on a stream answer requests of that stream only'),
  ),
  row(
    '2.4-25',
    'questions without end are cut, within one deadline',
    'any',
    held('resilience/input-rounds', 'ends after the tenth round with a typed error'),
  ),
  row(
    '2.4-26',
    'of many questions few are asked at once',
    'any',
    held('engine/inbound', 'answers few at once and few in a minute'),
    held('resilience/input-rounds', 'asks at most four things of the host at the same time'),
  ),
  row(
    '2.4-27',
    'the host is not asked for what it does not answer',
    'any',
    held('engine/inbound', 'declares only what the host answers, and what it adds by itself'),
  ),
  row(
    '2.4-28',
    'nothing that is remembered is keyed by what a server says of itself',
    'any',
    held('engine/guards', 'two servers of one name and one cache scope share nothing'),
  ),
  row(
    '2.4-29',
    'an authority nobody named is not trusted',
    HTTP,
    held('mcp/transports/http-guard', 'trusts nobody it was not told to trust'),
  ),

  // The libraries beneath
  row(
    '2.6-01',
    'a host callback that throws or hangs is never an uncaught exception',
    'any',
    held('engine/bad-host', 'may throw in the logger'),
    held('engine/lifecycle', 'is told to all, though one subscriber of a stream throws'),
  ),

  // Threats
  row(
    '3-01',
    'hidden characters in what a model reads are flagged',
    'any',
    held('engine/item-flags', 'tells what a person does not see in what a server lists'),
    held('security/inspect-text', 'is searched in all its texts and keys'),
  ),
  row(
    '3-02',
    'a tool that changed is quarantined',
    'any',
    held(
      'engine/trust-pinning',
      'refuses a tool that became another one, without a message, until it is approved',
    ),
  ),
  row(
    '3-03',
    'no server takes or blurs the name of another',
    'any',
    held(BAD, 'cannot take or blur the exposed name of another'),
  ),
  row(
    '3-04',
    'identity is what is configured',
    'any',
    held('engine/guards', 'two servers of one name and one cache scope share nothing'),
  ),
  row('3-05', 'results are handed on with where they come from, and nothing in them is fetched', ALL, matrix),
  row(
    '3-09',
    'private addresses are refused for what a server names, in every spelling',
    HTTP,
    held('mcp/transports/http-guard', 'private addresses'),
    held('engine/guards', 'a private address is refused however it is spelt: %s'),
  ),
  row(
    '3-10',
    'configured headers go to the configured origin only',
    HTTP,
    held(AUTH, 'configured headers go to no authorization server'),
  ),
  row(
    '3-11',
    'no redirect takes a credential along',
    HTTP,
    held(AUTH, 'a redirect of the server is not followed, with a token least of all'),
    held(AUTH, 'a token endpoint that redirects gets the refresh token, its target does not'),
  ),
  row(
    '3-12',
    'credentials stay with their issuer',
    HTTP,
    held(AUTH, 'refuses an answer whose %s is another one'),
    held(AUTH, 'gives the secret to no other issuer than the expected one'),
  ),
  row(
    '3-13',
    'arguments reach a program as they are, and no shell',
    PROCESS,
    held(
      'mcp/process',
      'gives arguments to the program as they are, with the environment and folder told and no other',
    ),
    held('mcp/windows-command', 'starts a batch file through cmd.exe, each argument in quotes'),
  ),
  row(
    '3-17',
    'a child knows nothing of the environment of its host',
    PROCESS,
    held('engine/trust-redaction', 'a child knows no secret of another'),
  ),
  row(
    '3-18',
    'after stop no process is left',
    PROCESS,
    held(STDIO, 'after close and stop is nothing: no pipe, process, timer or listener'),
  ),
  row('3-19', 'what is too large fails the request it belongs to', BYTES, matrix),
  row('3-20', 'a bomb costs 50 MB at most', HTTP, matrix),
  row(
    '3-21',
    'silence and drip end in time',
    HTTP,
    held(WEB, 'silence on the response stream ends the request, a slow answer does not'),
    held('mcp/transports/http-guard', 'does not wait for ever, neither for a head nor for a body'),
  ),
  row('3-22', 'a stream that ends without an answer leaves an unknown outcome', HTTP, matrix),
  row(
    '3-23',
    'reconnecting is paced whatever the server wants',
    ['streamable-http'],
    held(
      'mcp/transports/reconnect',
      'is a second on average or more after the third, whatever the server wants',
    ),
  ),
  row('3-24', 'lists are bounded in pages, items and time', ALL, matrix),
  row('3-25', 'notifications are bounded before they are read', ALL, matrix),
  row('3-26', 'requests to the host are bounded', ALL, matrix),
  row(
    '3-27',
    'what waits for a server that does not read is bounded',
    ['stdio', 'websocket'],
    held(STDIO, 'gets no more than the write queue holds; then sends are refused as unsent'),
    held('mcp/transports/websocket', 'refuses to queue without end for a server that does not read'),
  ),
  row(
    '3-28',
    'patterns and schemas of a server run in bounded time',
    'any',
    held('mcp/wire/linear-regexp', 'gives up when the work is spent'),
    held(WIRE, 'hostile schemas'),
    held('catalog/template', 'takes linear time where a regular expression would take years (CVE-2026-0621)'),
  ),
  row(
    '3-29',
    'schemas of two servers never meet',
    'any',
    held(WIRE, 'keeps two servers with one `$id` apart, and a schema that changed under its `$id`'),
  ),
  row('3-30', 'no error of a server is longer than 2 KB, its data not than 16 KB', ALL, matrix),
  row('3-31', 'bytes that are no UTF-8 fail their message, odd characters arrive', BYTES, matrix),
  row('3-32', 'garbage on stdout is counted', PROCESS, held(BAD, 'floods stdout with garbage')),
  row('3-33', 'no answer reaches another caller', ALL, matrix),
  row('3-34', 'a malformed answer is not waited for', ALL, matrix),
  row('3-35', 'a tool may be called like a part of every object', ALL, matrix),
  row(
    '3-36',
    'a path is normalised before it is matched',
    'any',
    held('security/uri', 'no dot segment and no second slash is left in its path'),
  ),
  row('3-37', 'a log line stays one line', ALL, matrix),
  row(
    '3-39',
    'a policy may keep what one server has said out of what another is sent',
    'any',
    held('engine/trust-flow', 'keeps what one server has said out of what another is sent'),
  ),
  row(
    '3-40',
    'people are sent to https pages, and asked by name',
    'any',
    held('engine/inbound', 'sends people to https only'),
  ),
  row('3-41', 'progress of a token nobody has is dropped', ALL, matrix),
  row(
    '3-42',
    'a package that is not pinned is warned of',
    'any',
    held('config/program', 'warns of a package that is fetched anew each time without a version: %s'),
  ),
  row(
    '3-43',
    'times that a server names are bounded',
    'any',
    held('mcp/transports/http-refusal', 'Retry-After'),
  ),
];

import { errnoName, errnoNumber, errnoText } from './errno.js';

/** What an error was about; each part shows up in the message as Node would have it. */
export interface ErrorSubject {
  /** The operation, in the words of whoever asked: `open`, `Twalk`. */
  syscall?: string | undefined;
  path?: string | undefined;
  dest?: string | undefined;
}

/**
 * An error with a Linux error number, shaped like the ones `node:fs` throws: `code`, `errno` (negative), `syscall`, `path`, `dest`.
 * A server's Rlerror becomes one, and a back-end throws one to have it sent.
 */
export class ErrnoError extends Error implements NodeJS.ErrnoException {
  readonly code: string;
  /** The Linux number, negative, as Node has it. */
  readonly errno: number;
  declare readonly syscall?: string;
  declare readonly path?: string;
  declare readonly dest?: string;

  /** `error` is a Linux number (positive or negative) or its name; a name Linux does not have becomes EIO. */
  constructor(error: number | string, subject: ErrorSubject = {}, options?: ErrorOptions) {
    const number = typeof error === 'number' ? Math.abs(error) : (errnoNumber(error) ?? 5);
    const code = errnoName(number);
    super(message(code, number, subject), options);
    this.name = 'Error';
    this.code = code;
    this.errno = -number;
    if (subject.syscall !== undefined) this.syscall = subject.syscall;
    if (subject.path !== undefined) this.path = subject.path;
    if (subject.dest !== undefined) this.dest = subject.dest;
  }
}

/**
 * An ErrnoError without a stack. Recording one costs ten times the rest, and of an answer that came over the wire it would say only who
 * read it; a missing name is asked for thousands of times.
 */
export function answeredError(error: number | string, subject: ErrorSubject, options?: ErrorOptions): ErrnoError {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  try {
    return new ErrnoError(error, subject, options);
  } finally {
    Error.stackTraceLimit = limit;
  }
}

function message(code: string, number: number, { syscall, path, dest }: ErrorSubject): string {
  let text = `${code}: ${errnoText(number)}`;
  if (syscall !== undefined) text += `, ${syscall}`;
  if (path !== undefined) text += ` '${path}'`;
  if (dest !== undefined) text += ` -> '${dest}'`;
  return text;
}

/** The Linux number (positive) that stands for anything thrown: its own where it has one, else EIO. */
export function errnoOf(error: unknown): number {
  if (typeof error !== 'object' || error === null) return 5;
  const { code, errno } = error as { code?: unknown; errno?: unknown };
  if (typeof code === 'string') {
    const number = errnoNumber(code);
    if (number !== undefined) return number;
  }
  if (typeof errno === 'number' && errno < 0 && errno > -4096) return -errno;
  return 5;
}

/** The peer broke the protocol: what it sent cannot be made sense of. It ends that conversation, never the process. */
export class ProtocolError extends Error {
  readonly code = 'EPROTO';
  /** The message and field that was wrong: `Rgetattr.size`. */
  readonly field: string;
  /** Bytes from the start of the frame, or -1 where no frame was read. */
  readonly offset: number;
  /**
   * The Linux number to answer with where the frame was well-formed and only asks for more than this side can do; the
   * conversation then goes on.
   */
  readonly answer: number | undefined;

  constructor(problem: string, field: string, offset = -1, answer?: number) {
    super(`EPROTO: ${problem} (${field}${offset < 0 ? '' : `, byte ${offset}`})`);
    this.name = 'ProtocolError';
    this.field = field;
    this.offset = offset;
    this.answer = answer;
  }
}

/** The conversation is over: everything that waited for an answer is rejected with one of these. */
export class ConnectionLostError extends Error {
  /** `ECONNRESET`, or the code of what ended it: `EPIPE`, `ETIMEDOUT`, `EPROTO`, … */
  readonly code: string;
  /** What it was connected to. */
  readonly address: string;

  constructor(address: string, cause?: Error) {
    const code = (cause as NodeJS.ErrnoException | undefined)?.code;
    super(`connection to ${address} lost${cause === undefined ? '' : `: ${cause.message}`}`, cause === undefined ? undefined : { cause });
    this.name = 'ConnectionLostError';
    this.code = typeof code === 'string' ? code : 'ECONNRESET';
    this.address = address;
  }
}

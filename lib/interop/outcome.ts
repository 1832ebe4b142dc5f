import { ConnectionLostError, ErrnoError, ProtocolError } from '../protocol/error.js';

/**
 * What a check found: the rule holds; it does not; the server says (or the platform means) that it lacks what the rule is about; the check
 * could not be made.
 */
export type Outcome = 'pass' | 'deviates' | 'unsupported' | 'error';

/** The server did something else than the rule says. The message tells what was seen. */
export class Deviation extends Error {
  override readonly name = 'Deviation';
}

/** The rule is about something this server does not have. */
export class Unsupported extends Error {
  override readonly name = 'Unsupported';
}

/** Nothing of the server's doing kept the check from being made. */
export class Unable extends Error {
  override readonly name = 'Unable';
}

/** An error of 9P2000, which has a text and no number: any text is as good as another. The code is a guess. */
export class Unnumbered extends ErrnoError {}

export interface Verdict {
  outcome: Outcome;
  /** What was seen, unless it passed. */
  saw?: string;
}

/** The verdict for what a check threw. */
export function judge(error: unknown): Verdict {
  if (error instanceof Deviation) return { outcome: 'deviates', saw: error.message };
  if (error instanceof Unsupported) return { outcome: 'unsupported', saw: error.message };
  if (error instanceof ErrnoError) {
    const saw = `${error.syscall ?? 'a request'} answered ${error instanceof Unnumbered ? JSON.stringify(error.cause) : error.code}`;
    // A server says so when it does not know a message or does not do it.
    return error.code === 'EOPNOTSUPP' || error.code === 'ENOSYS' ? { outcome: 'unsupported', saw } : { outcome: 'deviates', saw };
  }
  if (error instanceof ProtocolError) return { outcome: 'deviates', saw: error.message };
  if (error instanceof ConnectionLostError) return lost(error);
  return { outcome: 'error', saw: error instanceof Error ? `${error.name}: ${error.message}` : String(error) };
}

function lost({ cause }: ConnectionLostError): Verdict {
  if (cause instanceof Deviation || cause instanceof ProtocolError) return judge(cause);
  return { outcome: 'deviates', saw: 'the server dropped the connection' };
}

/** Names and texts of a server's may hold anything; a report is read on terminals. */
export function inOneLine(text: string): string {
  return text.replace(/\p{Cc}/gu, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

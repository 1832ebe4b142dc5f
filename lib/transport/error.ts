import { getSystemErrorMap } from 'node:util';

/** What is wrong with an address, in one line that quotes the text it is about. */
export class AddressError extends Error {
  readonly code = 'ERR_INVALID_ADDRESS';
  /** The address as it was given. */
  readonly input: string;

  constructor(input: string, problem: string) {
    super(`${problem} in address '${input}'`);
    this.name = 'AddressError';
    this.input = input;
  }
}

/** A transport could not be set up, or ended badly. Node's shape: `code`, `errno` (negative, of this host), `syscall`, `address`. */
export class TransportError extends Error implements NodeJS.ErrnoException {
  readonly code: string;
  declare readonly errno?: number;
  readonly syscall: string;
  /** What it was, or was to be, connected to. */
  readonly address: string;

  constructor(code: string, syscall: string, address: string, detail?: string, options?: ErrorOptions) {
    const known = numberOf(code);
    super(`${code}: ${detail ?? known?.[1] ?? 'failed'}, ${syscall} '${address}'`, options);
    this.name = 'Error';
    this.code = code;
    this.syscall = syscall;
    this.address = address;
    if (known !== undefined) this.errno = known[0];
  }
}

function numberOf(code: string): [number, string] | undefined {
  for (const [number, [name, text]] of getSystemErrorMap()) if (name === code) return [number, text];
  return undefined;
}

/** The name of a system call's error number, as `errno` of this host has it (positive or negative). */
export function errorName(number: number): string {
  return getSystemErrorMap().get(-Math.abs(number))?.[0] ?? `E${Math.abs(number)}`;
}

/** What a failed call of Node gives, with the address it was about. Node joins several tries into one error without a text. */
export function wrapError(error: unknown, syscall: string, address: string): Error {
  const first = error instanceof AggregateError && error.errors.length > 0 ? error.errors[0] : error;
  if (first instanceof TransportError || first instanceof AddressError || (first instanceof Error && first.name === 'AbortError'))
    return first;
  const code = codeOf(first);
  if (code !== undefined && numberOf(code) !== undefined) return new TransportError(code, syscall, address, undefined, { cause: error });
  const text = first instanceof Error ? first.message : String(first);
  return new TransportError(code ?? 'EIO', syscall, address, text, { cause: error });
}

export function codeOf(error: unknown): string | undefined {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}

/** Node's AbortError, with the signal's reason as its cause. */
export function abortError(signal: AbortSignal): Error {
  return Object.assign(new Error('The operation was aborted', { cause: signal.reason }), { name: 'AbortError', code: 'ABORT_ERR' });
}

/** Settles with `work`, or with an AbortError as soon as `signal` aborts. What is under way goes on. */
export function abortable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) {
    work.catch(() => undefined);
    return Promise.reject(abortError(signal));
  }
  return new Promise((resolve, reject) => {
    const aborted = () => reject(abortError(signal));
    signal.addEventListener('abort', aborted, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', aborted));
  });
}

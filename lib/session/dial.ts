import { type Dialect, VERSION_L, VERSION_LEGACY, VERSION_U } from '../protocol/constants.js';
import {
  type Address,
  AddressError,
  type AttachOptions,
  addressName,
  type DialOptions,
  dial,
  formatAddress,
  parseAddress,
  TransportError,
} from '../transport/index.js';
import type { SessionOptions } from './options.js';
import { Session } from './session.js';

/** How to get to a conversation: what `dial` and `Session.open` take. */
export type OpenOptions = Omit<DialOptions, 'signal' | 'timeout'> &
  SessionOptions & {
    /** Milliseconds that connecting may take, until the server has said what it speaks. Default: 30 seconds to reach it, and as many for its answer. */
    connectTimeout?: number | undefined;
  };

/** A conversation, and what its address says of the attach to follow. */
export interface OpenedSession {
  session: Session;
  attach: Pick<AttachOptions, 'aname' | 'uname' | 'uid'>;
}

/**
 * Connects to an address and begins a conversation there. The address's own `msize` and `version` count where the options have none.
 * Rejects as `dial` and `Session.open` do; nothing is left open then.
 */
export async function openSession(address: string | Address, options: OpenOptions = {}): Promise<OpenedSession> {
  const to = typeof address === 'string' ? parseAddress(address) : address;
  const { connectTimeout, timeout, signal, ...rest } = options;
  const version = options.version ?? dialectOf(to);
  const begun = performance.now();
  const transport = await dial(to, { ...rest, signal, timeout: connectTimeout });
  const limit = connectTimeout ? AbortSignal.timeout(Math.max(0, Math.ceil(begun + connectTimeout - performance.now()))) : undefined;
  const either = AbortSignal.any([signal, limit].filter((one) => one !== undefined));
  try {
    const session = await Session.open(transport, { ...rest, signal: either, timeout, msize: options.msize ?? to.msize, version });
    return { session, attach: { ...to } };
  } catch (error) {
    if (limit?.aborted && !signal?.aborted) throw new TransportError('ETIMEDOUT', 'connect', addressName(to), undefined, { cause: error });
    throw error;
  }
}

/** The dialect that an address asks for. An AddressError where it is none of ours. */
export function dialectOf(address: Address): Dialect | undefined {
  try {
    return dialectNamed(address.version);
  } catch (error) {
    throw new AddressError(formatAddress(address), error instanceof Error ? error.message : String(error));
  }
}

/** The dialect of that name, in full or short: `9P2000.u`, `u`. */
export function dialectNamed(name: string | undefined): Dialect | undefined {
  if (name === undefined) return undefined;
  const dialects: Readonly<Record<string, Dialect>> = {
    '9p2000.l': VERSION_L,
    l: VERSION_L,
    '9p2000.u': VERSION_U,
    u: VERSION_U,
    '9p2000': VERSION_LEGACY,
    legacy: VERSION_LEGACY,
  };
  const dialect = dialects[name.toLowerCase()];
  if (dialect === undefined) throw new RangeError(`no dialect is called ${JSON.stringify(name)} (9P2000.L, 9P2000.u or 9P2000 is)`);
  return dialect;
}

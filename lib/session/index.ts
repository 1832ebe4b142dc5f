export { type Address, abortError, type DialOptions, dial, parseAddress } from '../transport/index.js';
export type { Receiver, Transport } from '../transport/transport.js';
export type { CallOptions, Done } from './call.js';
export { dialectNamed, dialectOf, type OpenOptions, openSession } from './dial.js';
export { legacyErrno } from './ename.js';
export type { SessionOptions } from './options.js';
export { Session } from './session.js';

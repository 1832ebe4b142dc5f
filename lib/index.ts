/** 9P2000.L for Node: a client, and what scripts need around it. Importing this loads no native code. */
export * from './client/index.js';
export { ConnectionLostError, ErrnoError, ProtocolError } from './protocol/error.js';
export type * from './protocol/types.js';
export { dialectNamed, Session, type SessionOptions } from './session/index.js';
export { dial, type Listener, listen, memoryPair, parseAddress, type Transport } from './transport/index.js';

/** 9P2000.L for Node: a client, and what scripts need around it. Importing this loads no native code. */
import { registerScheme } from './transport/index.js';

export * from './client/index.js';
export * from './fs/index.js';
export { ConnectionLostError, ErrnoError, ProtocolError } from './protocol/error.js';
export type * from './protocol/types.js';
export { dialectNamed, Session, type SessionOptions } from './session/index.js';
export { dial, type Listener, listen, memoryPair, parseAddress, registerScheme, type Transport } from './transport/index.js';

// What a transport may not import knows its scheme here; it is loaded when an address asks for it.
registerScheme('qemu', async (address, options) => (await import('./qemu/index.js')).dialQemu(address, options));

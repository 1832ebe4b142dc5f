export type { CallOptions, Done } from './call.js';
export { dialectNamed, type OpenOptions, openSession } from './dial.js';
export { Session, type SessionOptions } from './session.js';

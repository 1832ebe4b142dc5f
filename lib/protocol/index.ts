/** The wire of 9P2000.L, 9P2000.u and 9P2000: messages, codec, framing, errors. Pure: it needs nothing of Node. */
export { Codec, type Message, tagOf, typeOf } from './codec.js';
export * from './constants.js';
export { decodeEntries, decodeStats, encodeEntries, entryBytes } from './directory.js';
export { errnoName, errnoNumber, errnoText } from './errno.js';
export { ConnectionLostError, ErrnoError, type ErrorSubject, errnoOf, ProtocolError } from './error.js';
export { format } from './format.js';
export { type FrameHandler, Framer } from './framer.js';
export {
  type Body,
  type MessageName,
  messages,
  messagesLegacy,
  messagesU,
  type Reply,
  type ReplyName,
  type RName,
  type TName,
} from './messages.js';
export { decodeText, encodeText, textBytes, textToBytes } from './text.js';
export type * from './types.js';

import type { Connection } from './connection.js';
import type { Attached } from './fids.js';

/** What a server tells whoever keeps a log. */
export type ServerEvent =
  /** A client came. */
  | { type: 'connect'; connection: Connection }
  /** It named its user and its tree. */
  | { type: 'attach'; connection: Connection; attached: Attached }
  /** It left; `error` unless it left in order. */
  | { type: 'disconnect'; connection: Connection; error?: Error }
  /** A client was turned away because there are too many. */
  | { type: 'refuse'; peer: string }
  /** Something went wrong that no answer could tell, or a client broke the protocol. */
  | { type: 'error'; connection: Connection; error: unknown };

/** One line for a log. */
export function formatEvent(event: ServerEvent): string {
  if (event.type === 'refuse') return `refuse ${event.peer}: too many connections`;
  const who = `${event.connection.id} ${event.connection.peer}`;
  switch (event.type) {
    case 'connect':
      return `connect ${who}`;
    case 'attach': {
      const { uname, aname, uid, exported } = event.attached;
      const user = uid === 0xffffffff ? JSON.stringify(uname) : `${JSON.stringify(uname)} (uid ${uid})`;
      return `attach ${who}: ${user} to ${JSON.stringify(aname)}${exported.aname === aname ? '' : ` (${JSON.stringify(exported.aname)})`}`;
    }
    case 'disconnect':
      return `disconnect ${who}${event.error === undefined ? '' : `: ${event.error.message}`}`;
    case 'error':
      return `error ${who}: ${event.error instanceof Error ? event.error.message : String(event.error)}`;
  }
}

import { messages, type TName } from '../../protocol/messages.js';
import type { Awaitable } from '../backend.js';
import type { Connection } from '../connection.js';
import type { Request } from '../request.js';
import { Tattach, Tauth, Tclunk } from './attach.js';
import { Tgetattr, Treadlink, Tsetattr, Tstatfs } from './attributes.js';
import { Tcreateat } from './create.js';
import { Tlink, Tmkdir, Tmknod, Treaddir, Tremove, Trename, Trenameat, Tsymlink, Tunlinkat } from './directory.js';
import { Tfsync, Tlcreate, Tlopen, Tread, Twrite } from './file.js';
import type { Handler } from './handler.js';
import { Tgetlock, Tlock } from './locks.js';
import { Twalk } from './walk.js';
import { Txattrcreate, Txattrwalk } from './xattr.js';

/** The requests of 9P2000.L but for the two that are about requests: Tversion and Tflush are the connection's own. */
type Handled = Exclude<Extract<keyof typeof messages, TName>, 'Tversion' | 'Tflush'>;

const handlers: { readonly [N in Handled]: Handler<N> } = {
  Tattach,
  Tauth,
  Tclunk,
  Tcreateat,
  Tfsync,
  Tgetattr,
  Tgetlock,
  Tlcreate,
  Tlink,
  Tlock,
  Tlopen,
  Tmkdir,
  Tmknod,
  Tread,
  Treaddir,
  Treadlink,
  Tremove,
  Trename,
  Trenameat,
  Tsetattr,
  Tstatfs,
  Tsymlink,
  Tunlinkat,
  Twalk,
  Twrite,
  Txattrcreate,
  Txattrwalk,
};

/** A handler as the connection calls it, which has decoded the body by the same name that chose the handler. */
export type AnyHandler = (connection: Connection, request: Request, body: unknown) => Awaitable<object>;

const byType: Array<AnyHandler | undefined> = new Array(256).fill(undefined);
for (const [name, handler] of Object.entries(handlers)) byType[messages[name as Handled].type] = handler as AnyHandler;

/** What answers requests of that type byte. */
export function handlerOf(type: number): AnyHandler | undefined {
  return byType[type];
}

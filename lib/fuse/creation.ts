import { createAt } from '../client/index.js';
import { L_O_CREAT, L_O_EXCL } from '../protocol/constants.js';
import type { Attributes } from '../protocol/types.js';
import { WANTED } from './attributes.js';
import type { Bridge } from './bridge.js';
import type { Request } from './kernel/request.js';
import type { Node } from './nodes.js';
import type { Pin } from './pins.js';
import { staleIfGone } from './tree.js';

/** How a file is to be created. */
interface Creation {
  /** For the server. */
  wire: number;
  /** The caller's. */
  flags: number;
  /** Permission bits. */
  mode: number;
  gid: number;
  user: number;
}

/** A file that is open. Whoever gets it ends the pin, and takes or drops the descriptor. */
interface Created {
  pin: Pin;
  attributes: Attributes;
  /** The descriptor that was asked for along with it. */
  asked: Promise<number | undefined> | undefined;
}

const unknown = (): undefined => undefined;
const directoryOf = ({ directory }: { directory: Attributes | undefined }): Attributes | undefined => directory;

/** Changes a directory, and sees to it that its attributes are known afterwards (names.ts). */
type Changing = <T>(parent: Node, request: Request, change: () => Promise<T>) => Promise<T>;

/** How a file that is new, or was there, is had open from the server: by a row of messages, or by one where the server has that. */
export function creator(
  bridge: Bridge,
  changing: Changing,
): (parent: Node, name: string, wanted: Creation, request: Request) => Promise<Created> {
  const { tree, options, ordered, backings } = bridge;

  /** A new open file, or one that was there, by a row of messages. */
  async function created(parent: Node, name: string, { wire, flags, mode, gid, user }: Creation, request: Request): Promise<Created> {
    const o = request.options;
    const { pin, done } = await bridge.clone(parent, user, o);
    const { fid } = pin;
    let asked: Created['asked'];
    try {
      const [, attributes] = await changing(parent, request, () => {
        const creating = fid.create(name, wire | L_O_CREAT | (flags & L_O_EXCL), mode, gid, o);
        return ordered.both(creating, () => {
          const seeing = fid.getattr(WANTED, o);
          // It may be the second time, in another conversation.
          backings.drop(asked);
          asked = backings.ask(undefined, fid, o);
          return seeing;
        });
      });
      return { pin, attributes, asked };
    } catch (error) {
      backings.drop(asked);
      // Without the walk's own error the reason would be a fid that nobody knows.
      await done.catch((walking: unknown) => {
        throw staleIfGone(walking);
      });
      pin.end();
      throw staleIfGone(error);
    } finally {
      if (!ordered.kept) tree.prepare(parent, user);
    }
  }

  /**
   * The same by one message, which brings what `changing` would ask for. Flat: in a fresh mount each function more on this way is one more to be compiled while somebody waits
   * (2,000 creates: 0.52 s as it is, 0.58 s through three more).
   */
  async function createdAtOnce(parent: Node, name: string, wanted: Creation, request: Request): Promise<Created> {
    const { wire, flags, mode, gid, user } = wanted;
    const o = request.options;
    let from = tree.held(parent, user);
    if (from === undefined) {
      from = await tree.reach(parent, user, o);
      if (!ordered.creates) {
        // The connection was lost on the way there, and in the next one nobody has asked yet.
        from.drop();
        return created(parent, name, wanted, request);
      }
    }
    bridge.changed(parent);
    bridge.looked.acts(request.pid);
    const how = wire | L_O_CREAT | (flags & L_O_EXCL);
    const creating = createAt(from.fid, name, how, mode, gid, backings.wanted, o);
    if (options.permissions) bridge.looked.opened(parent, creating.then(directoryOf, unknown));
    try {
      const { fid, attributes, descriptor } = await creating;
      return { pin: tree.pin(fid), attributes, asked: backings.came(descriptor) };
    } catch (error) {
      throw staleIfGone(error);
    } finally {
      from.drop();
      bridge.touched(parent);
    }
  }

  return (parent, name, wanted, request) => (ordered.creates ? createdAtOnce : created)(parent, name, wanted, request);
}

import type { Fid, RequestOptions } from '../client/index.js';
import { GETATTR_BASIC, S_ISGID, XATTR_SIZE_MAX } from '../protocol/constants.js';
import { ErrnoError } from '../protocol/error.js';
import type { Bridge } from './bridge.js';
import { unlessKilled } from './interrupts.js';
import { SETXATTR_ACL_KILL_SGID } from './kernel/constants.js';
import type { Operations, Request } from './kernel/request.js';

const ERANGE = -34;
const ENODATA = -61;
const EOPNOTSUPP = -95;

/** The largest list of names Linux passes on, in bytes. */
const XATTR_LIST_MAX = 65536;

/** Attributes that hold ACLs. */
export const ACL_ACCESS = 'system.posix_acl_access';
export const ACL_DEFAULT = 'system.posix_acl_default';

/** Names remembered at most. */
const NAMES = 64;

/** Extended attributes, POSIX ACLs among them. */
export function xattrOperations(bridge: Bridge): Partial<Operations> {
  const { tree } = bridge;
  const { nodes } = tree;
  /** Whether the server has anything to say about a name. */
  const served = new Map<string, boolean | Promise<boolean>>();

  /**
   * Asked once, of the root: security modules ask for their attributes at every turn, and most servers have none. For each name by itself, as a server may know
   * one of a prefix (an ACL) and not another.
   */
  function serves(name: string): boolean | Promise<boolean> {
    if (name.startsWith('user.')) return true;
    const answer = served.get(name);
    if (answer !== undefined) return answer;
    // Then the server itself is asked each time.
    if (served.size >= NAMES) return true;
    const asked = isServed(bridge.client.root, name);
    served.set(name, asked);
    void asked.then((is) => served.set(name, is));
    return asked;
  }

  async function value(name: string, limit: number, request: Request): Promise<Uint8Array> {
    const end = (found: Fid): void => tree.clunker.give(found);
    return bridge.with(nodes.get(request.nodeid), request, (fid, o) => readValue(fid, name, limit, end, o), true);
  }

  async function got(name: string, size: number, request: Request): Promise<Uint8Array | { size: number } | number> {
    const known = serves(name);
    if (known === false || (known !== true && !(await unlessKilled(known, request.signal)))) return EOPNOTSUPP;
    return sized(await value(name, XATTR_SIZE_MAX, request), size);
  }

  const sized = (bytes: Uint8Array, size: number): Uint8Array | { size: number } | number => {
    if (size === 0) return { size: bytes.length };
    return bytes.length > size ? ERANGE : bytes;
  };

  return {
    getxattr({ name, size }, request) {
      const node = nodes.get(request.nodeid);
      // Before the first write of a file the kernel asks for its capabilities, which a new one has none of.
      if (node.bareUntil > request.at && name.startsWith('security.')) return ENODATA;
      bridge.interest.xattr(node);
      if (node.noXattrsUntil > request.at && serves(name) === true) return ENODATA;
      return got(name, size, request);
    },

    async listxattr({ size }, request) {
      const node = nodes.get(request.nodeid);
      bridge.interest.xattr(node);
      if (node.noXattrsUntil > request.at) return sized(new Uint8Array(0), size);
      return sized(await value('', XATTR_LIST_MAX, request), size);
    },

    async setxattr({ name, value: bytes, flags, setxattrFlags }, request) {
      nodes.get(request.nodeid).bareUntil = 0;
      // On the wire an empty value is the attribute's end.
      if (bytes.length === 0 || !(await serves(name))) return EOPNOTSUPP;
      const node = nodes.get(request.nodeid);
      bridge.changed(node);
      const set = async (fid: Fid, o: RequestOptions): Promise<void> => {
        await fid.setxattr(name, bytes, flags, o);
        if ((setxattrFlags & SETXATTR_ACL_KILL_SGID) !== 0) await dropGroupId(fid, o);
      };
      await bridge.with(node, request, set, true).finally(() => {
        node.inherited = undefined;
        bridge.changed(node);
      });
      return 0;
    },

    async removexattr({ name }, request) {
      if (!(await serves(name))) return EOPNOTSUPP;
      const node = nodes.get(request.nodeid);
      bridge.changed(node);
      await bridge.with(
        node,
        request,
        async (fid, o) => {
          // What is not there cannot be removed, but not every server minds.
          const { fid: found } = await fid.xattrwalk(name, o);
          tree.clunker.give(found);
          await fid.removexattr(name, o);
        },
        true,
      );
      node.inherited = undefined;
      bridge.changed(node);
      return 0;
    },
  };
}

/** Whoever sets an ACL and is not in the file's group takes set-group-ID away; the kernel says who is (SETXATTR_ACL_KILL_SGID). */
async function dropGroupId(fid: Fid, options: RequestOptions): Promise<void> {
  const { mode } = await fid.getattr(GETATTR_BASIC, options);
  if ((mode & S_ISGID) !== 0) await fid.setattr({ mode: mode & ~S_ISGID }, options);
}

async function readValue(fid: Fid, name: string, limit: number, end: (fid: Fid) => void, options: RequestOptions): Promise<Uint8Array> {
  const { fid: found, size } = await fid.xattrwalk(name, options);
  try {
    if (size > limit) throw new ErrnoError('E2BIG', { syscall: 'Txattrwalk' });
    const bytes = new Uint8Array(size);
    const count = size === 0 ? 0 : await found.read(bytes, 0, options);
    return bytes.subarray(0, count);
  } finally {
    end(found);
  }
}

async function isServed(root: Fid, name: string): Promise<boolean> {
  try {
    const { fid } = await root.xattrwalk(name);
    fid.clunk().catch(() => {});
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code !== 'EOPNOTSUPP' && code !== 'ENOSYS';
  }
}

/** Whether the tree's root can have POSIX ACLs. */
export function servesAcl(root: Fid): Promise<boolean> {
  return isServed(root, ACL_ACCESS);
}

import { constants, type PathLike, type StatFsOptions, type StatOptions, type TimeLike } from 'node:fs';
import type { Fid } from '../client/fid.js';
import type { AttributeChange, RequestOptions } from '../client/verbs.js';
import { GETATTR_BASIC, GETATTR_BTIME, GETATTR_GID, GETATTR_MODE, GETATTR_UID, S_IFDIR, S_IFMT } from '../protocol/constants.js';
import { ErrnoError } from '../protocol/error.js';
import type { Attributes, Qid } from '../protocol/types.js';
import { encodingOf, named, requestOf, toId, toInteger, toMode, toTimespec } from './arguments.js';
import type { Context } from './context.js';
import { invalidArgType, told } from './errors.js';
import { setMode } from './mode.js';
import { toPath } from './path.js';
import { statsFsOf, statsOf } from './stats.js';
import { Walker } from './walk.js';

const ASKED = GETATTR_BASIC | GETATTR_BTIME;

/** What tells of files and changes what is told, without opening them. */
export function metadata(context: Context) {
  const walker = new Walker(context);

  /** Finds a file, does something with it, and tells of errors as that system call. */
  async function at<T>(
    syscall: string,
    given: PathLike,
    follow: boolean,
    request: RequestOptions | undefined,
    work: (fid: Fid) => Promise<T>,
  ): Promise<T> {
    const path = toPath(given);
    return told({ syscall, path }, async () => context.using((await walker.find(path, { follow, request })).fid, work));
  }

  const change = (syscall: string, path: PathLike, follow: boolean, what: AttributeChange): Promise<void> =>
    at(syscall, path, follow, context.request, (fid) => fid.setattr(what, context.request));

  async function status(syscall: string, path: PathLike, options: (StatOptions & RequestOptions) | undefined) {
    const request = requestOf(options, context.request);
    return statsOf(await at(syscall, path, syscall === 'stat', request, (fid) => fid.getattr(ASKED, request)), options?.bigint);
  }

  async function getxattr(path: PathLike, name: string, options: XattrOptions = {}): Promise<Buffer> {
    const request = requestOf(options, context.request);
    const value = await at('getxattr', path, options.follow ?? true, request, (fid) => fid.getxattr(name, request));
    return Buffer.from(value.buffer, value.byteOffset, value.length);
  }

  async function setxattr(
    path: PathLike,
    name: string,
    value: string | Uint8Array,
    options: XattrOptions & { flags?: number } = {},
  ): Promise<void> {
    const request = requestOf(options, context.request);
    const bytes = typeof value === 'string' ? Buffer.from(value) : value;
    const flags = toInteger(options.flags ?? 0, 'flags', 0, 3);
    await at('setxattr', path, options.follow ?? true, request, (fid) => fid.setxattr(name, bytes, flags, request));
  }

  return {
    /**
     * 9P does not ask a server for permission ahead of time, so the answer is worked out from the mode, as Linux's client does: ACLs
     * and read-only exports show only when something is tried.
     */
    async access(path: PathLike, mode: number = constants.F_OK): Promise<void> {
      if (typeof mode !== 'number') throw invalidArgType('mode', 'of type number', mode);
      if (mode < 0 || mode > 7) {
        throw Object.assign(new RangeError('mode is out of range: >= 0 && <= 7'), { code: 'ERR_OUT_OF_RANGE' });
      }
      await at('access', path, true, context.request, async (fid) => {
        if (mode === constants.F_OK) return;
        const attributes = await fid.getattr(GETATTR_MODE | GETATTR_UID | GETATTR_GID, context.request);
        if ((permitted(context, attributes) & mode) !== mode) throw new ErrnoError('EACCES');
      });
    },

    stat: (path: PathLike, options?: StatOptions & RequestOptions) => status('stat', path, options),

    lstat: (path: PathLike, options?: StatOptions & RequestOptions) => status('lstat', path, options),

    async statfs(path: PathLike, options?: StatFsOptions & RequestOptions) {
      const request = requestOf(options, context.request);
      return statsFsOf(await at('statfs', path, true, request, (fid) => fid.statfs(request)), options?.bigint);
    },

    async chmod(path: PathLike, mode: string | number): Promise<void> {
      const bits = toMode(mode, 'mode');
      await at('chmod', path, true, context.request, (fid) => setMode(fid, bits, context.request));
    },

    async chown(path: PathLike, uid: number, gid: number): Promise<void> {
      await change('chown', path, true, { uid: toId(uid, 'uid'), gid: toId(gid, 'gid') });
    },

    async lchown(path: PathLike, uid: number, gid: number): Promise<void> {
      await change('lchown', path, false, { uid: toId(uid, 'uid'), gid: toId(gid, 'gid') });
    },

    async utimes(path: PathLike, atime: TimeLike, mtime: TimeLike): Promise<void> {
      await change('utime', path, true, { atime: toTimespec(atime), mtime: toTimespec(mtime) });
    },

    async lutimes(path: PathLike, atime: TimeLike, mtime: TimeLike): Promise<void> {
      await change('lutime', path, false, { atime: toTimespec(atime), mtime: toTimespec(mtime) });
    },

    async readlink(path: PathLike, options?: unknown) {
      const encoding = encodingOf(options);
      const target = await at('readlink', path, false, context.request, (fid) => {
        // Servers disagree on what reading another file as a symlink gives.
        if ((fid.qid.type & 0x02) === 0) throw new ErrnoError('EINVAL');
        return fid.readlink(context.request);
      });
      return named(target, encoding);
    },

    /** The path below the attached root, without symlinks, ".." and double slashes. */
    async realpath(given: PathLike, options?: unknown) {
      const encoding = encodingOf(options);
      const path = toPath(given);
      const names = await told({ syscall: 'realpath', path }, async () => {
        const found = await walker.find(path, { follow: true, request: context.request });
        context.release(found.fid);
        return found.names;
      });
      return named(`/${names.join('/')}`, encoding);
    },

    /** The server's name of a file, and its version; not of what a symlink points to unless `follow` says so. */
    qid: (path: PathLike, { follow = false }: { follow?: boolean } = {}): Promise<Qid> =>
      at('lstat', path, follow, context.request, async (fid) => fid.qid),

    getxattr,

    async listxattr(path: PathLike, options: XattrOptions = {}): Promise<string[]> {
      const request = requestOf(options, context.request);
      return at('listxattr', path, options.follow ?? true, request, (fid) => fid.listxattr(request));
    },

    setxattr,

    async removexattr(path: PathLike, name: string, options: XattrOptions = {}): Promise<void> {
      const request = requestOf(options, context.request);
      await at('removexattr', path, options.follow ?? true, request, (fid) => fid.removexattr(name, request));
    },

    /** The bytes of a POSIX ACL, as Linux keeps them in an extended attribute (acl(5)). ENODATA where there is none. */
    async getacl(path: PathLike, kind: 'access' | 'default' = 'access'): Promise<Buffer> {
      return getxattr(path, `system.posix_acl_${kind}`);
    },

    async setacl(path: PathLike, acl: Uint8Array, kind: 'access' | 'default' = 'access'): Promise<void> {
      await setxattr(path, `system.posix_acl_${kind}`, acl);
    },
  };
}

export interface XattrOptions extends RequestOptions {
  /** Of what a symlink points to, rather than its own. Default: true. */
  follow?: boolean | undefined;
}

/** R_OK, W_OK and X_OK as the mode gives them to the user. */
function permitted(context: Context, { mode, uid, gid }: Attributes): number {
  if (context.uid === 0) {
    // Root may do all but run what nobody may (capabilities(7), CAP_DAC_OVERRIDE).
    return (mode & S_IFMT) === S_IFDIR || (mode & 0o111) !== 0 ? 7 : 6;
  }
  if (uid === context.uid) return (mode >> 6) & 7;
  return context.inGroup(gid) ? (mode >> 3) & 7 : mode & 7;
}

import {
  DT_SOCK,
  GETATTR_SIZE,
  L_O_APPEND,
  L_O_DIRECTORY,
  L_O_EXCL,
  L_O_TRUNC,
  S_IFDIR,
  SETATTR_ATIME,
  SETATTR_CTIME,
  SETATTR_MODE,
  SETATTR_SIZE,
} from '../../../lib/protocol/index.js';
import type { Saboteur } from '../middle.js';
import {
  after,
  alter,
  any,
  code,
  entries,
  fail,
  from,
  garble,
  ghost,
  grow,
  hangUp,
  hide,
  permit,
  pretend,
  respond,
  spoil,
  swallow,
  twist,
} from '../sabotage.js';
import { bad, family, odd } from './names.js';

const noFlag = (flag: number): Saboteur =>
  any(
    alter('Tlopen', ({ flags }) => ({ flags: flags & ~flag })),
    alter('Tlcreate', ({ flags }) => ({ flags: flags & ~flag })),
  );
const kind = (mode: number): Saboteur => twist('Tgetattr', (body) => ({ mode: (body.mode & 0o7777) | mode }));
const asSetuid = (bits: number): Saboteur => twist('Tgetattr', ({ mode }) => ({ mode: mode | bits }));

const open: Record<string, Saboteur> = {
  'open.qid': twist('Tlopen', ({ qid }) => ({ qid: { ...qid, path: qid.path + 1n } })),
  'open.iounit': twist('Tlopen', () => ({ iounit: 10_000_000 })),
  ...family('open.', ['twice', 'unknown-fid', 'directory-write', 'symlink', 'fifo-read', 'fifo-write', 'socket', 'device'], () =>
    permit('Tlopen'),
  ),
  'open.twice-kept': permit('Twrite'),
  'open.directory': fail('Tlopen'),
  'open.read-only': permit('Twrite'),
  'open.write-only': permit('Tread'),
  'open.read-write': pretend('Twrite'),
  'open.truncate': noFlag(L_O_TRUNC),
  'open.truncate-writable': noFlag(L_O_TRUNC),
  'open.no-truncate': alter('Tlopen', ({ flags }) => ({ flags: flags | L_O_TRUNC })),
  'open.append': noFlag(L_O_APPEND),
  'open.failed-kept': after('Tlopen', fail('Twalk')),
  'open.two-fids': permit('Twrite'),
  'open.qid-type': twist('Tlopen', ({ qid }) => ({ qid: { ...qid, type: 0 } })),
  'open.directory-flag': noFlag(L_O_DIRECTORY),
  ...family('open.', ['directory-flag-directory', 'unknown-flags', 'direct', 'sync'], () => fail('Tlopen', 'EINVAL')),
  'open.unlinked': after('Tremove', fail('Tread', 'ENOENT')),
};

const create: Record<string, Saboteur> = {
  'create.file': pretend('Tlcreate'),
  'create.moves-fid': twist('Tlcreate', ({ qid }) => ({ qid: { ...qid, type: 0x80 } })),
  'create.open': pretend('Twrite'),
  'create.open-write-only': permit('Tread'),
  'create.mode': alter('Tlcreate', () => ({ mode: 0o640 })),
  'create.mode-read-only': fail('Twrite', 'EACCES'),
  'create.exclusive': noFlag(L_O_EXCL),
  'create.exclusive-new': fail('Tlcreate', 'EEXIST'),
  'create.existing': alter('Tlcreate', ({ flags }) => ({ flags: flags | L_O_EXCL })),
  'create.existing-truncate': noFlag(L_O_TRUNC),
  ...family('create.', ['over-directory', 'in-file', 'open-fid', 'unknown-fid'], () => permit('Tlcreate')),
  'create.failed-kept': fail('Twalk', 'EIO', ({ wnames }) => wnames[0] === 'other'),
  'create.gid': twist('Tgetattr', ({ gid }) => ({ gid: gid + 1 })),
  'create.uid': twist('Tgetattr', ({ uid }) => ({ uid: uid + 1 })),
  ...family('create.name-', bad, () => permit('Tlcreate')),
  ...family('create.odd-name-', odd, () => alter('Tlcreate', ({ name }) => ({ name: `${name.slice(0, 200)}x` }))),
  'mkdir.qid': twist('Tmkdir', ({ qid }) => ({ qid: { ...qid, type: 0 } })),
  'mkdir.empty': entries((list, { offset }) => (offset === 0n ? [...list, { ...ghost, offset: list.at(-1)?.offset ?? 1n }] : list)),
  'mkdir.mode': alter('Tmkdir', () => ({ mode: 0o700 })),
  'mkdir.sticky': alter('Tmkdir', ({ mode }) => ({ mode: mode & 0o777 })),
  ...family('mkdir.', ['exists', 'in-file', 'unknown-fid'], () => permit('Tmkdir')),
  'mkdir.keeps-fid': after('Tmkdir', fail('Tlopen')),
  'mkdir.links': from(
    2,
    twist('Tgetattr', ({ nlink }) => ({ nlink: nlink + 5 })),
  ),
  ...family('mkdir.name-', bad, () => permit('Tmkdir')),
  ...family('mknod.', ['fifo', 'socket', 'file', 'char', 'block'], () => kind(S_IFDIR)),
  'mknod.rdev': twist('Tgetattr', ({ rdev }) => ({ rdev: rdev + 1n })),
  ...family('mknod.', ['exists', 'directory'], () => permit('Tmknod')),
  ...family('mknod.name-', bad, () => permit('Tmknod')),
};

const io: Record<string, Saboteur> = {
  ...family('read.', ['all', 'offset', 'any-order', 'short', 'hole', 'far'], () => garble()),
  ...family('read.', ['end', 'beyond', 'empty', 'count-0', 'far-empty'], () => grow),
  'read.full': twist('Tread', ({ data }) => ({ data: data.subarray(0, -1) })),
  'read.over': twist('Tread', () => ({ data: Buffer.alloc(0) })),
  ...family('read.', ['unopened', 'unknown-fid', 'clunked', 'directory'], () => permit('Tread')),
  'write.count': twist(
    'Twrite',
    ({ count }) => ({ count: count - 1 }),
    ({ data }) => data.length === 3,
  ),
  'write.offset': alter('Twrite', () => ({ offset: 0 })),
  'write.extends': pretend('Twrite', ({ offset }) => offset === 8),
  'write.hole': pretend('Twrite', ({ offset }) => offset === 20),
  'write.nothing': twist(
    'Twrite',
    () => ({ count: 1 }),
    ({ data }) => data.length === 0,
  ),
  'write.full': twist('Twrite', ({ count }) => ({ count: count >> 1 })),
  ...family('write.', ['large', 'seen', 'seen-elsewhere'], () => garble()),
  'write.far': twist('Tgetattr', ({ size }) => ({ size: size % 2 ** 32 })),
  'write.mtime': twist('Tgetattr', () => ({ mtime: { sec: 1_000_000, nsec: 0 } })),
  'write.version': twist('Tgetattr', ({ qid }) => ({ qid: { ...qid, version: 5 } })),
  'write.clears-setuid': asSetuid(0o6000),
  ...family('write.', ['unopened', 'unknown-fid', 'directory'], () => permit('Twrite')),
  ...family('fsync.', ['file', 'data', 'directory', 'read-only', 'write-only'], () => fail('Tfsync', 'EINVAL')),
  ...family('fsync.', ['unopened', 'unknown-fid'], () => permit('Tfsync')),
};

const readdir: Record<string, Saboteur> = {
  'readdir.dots': hide(/^\.\.?$/),
  ...family('readdir.', ['all', 'pieces', 'removed-meanwhile'], () => hide('file-030')),
  'readdir.two-fids': hide('file-013'),
  'readdir.empty': entries((list, { offset }) => (offset === 0n ? [...list, { ...ghost, offset: list.at(-1)?.offset ?? 1n }] : list)),
  'readdir.end': entries(
    () => [ghost],
    ({ offset, count }) => offset !== 0n && count === 4096,
  ),
  'readdir.resume': alter(
    'Treaddir',
    () => ({ offset: 0n }),
    ({ count }) => count === 4096,
  ),
  'readdir.rewind': from(
    3,
    entries(() => []),
  ),
  'readdir.cookies': entries((list) => list.map((one, index) => (index === 1 ? { ...one, offset: list[0]?.offset ?? 0n } : one))),
  'readdir.count': twist('Treaddir', ({ data }) => ({ data: Buffer.concat([data, data]) })),
  'readdir.fills': entries((list) => list.slice(0, 1)),
  'readdir.tiny': respond(
    'Treaddir',
    () => ({ data: Buffer.alloc(25) }),
    ({ count }) => count === 20,
  ),
  'readdir.over': twist(
    'Treaddir',
    () => ({ data: Buffer.alloc(0) }),
    ({ count }) => count === 0x7fffffff,
  ),
  'readdir.qid': entries((list) => list.map((one) => ({ ...one, qid: { ...one.qid, path: one.qid.path + 1n } }))),
  'readdir.type-known': entries((list) => list.map((one) => ({ ...one, type: DT_SOCK }))),
  'readdir.new-seen': hide('new'),
  'readdir.long-names': hide(/^b+$/),
  ...family('readdir.', ['file', 'unopened', 'unknown-fid'], () => permit('Treaddir')),
  'readdir.wild-cookie': hangUp('Treaddir'),
};

/** A change is said to be made and is not. */
const unchanged = (): Saboteur => pretend('Tsetattr');

const attributes: Record<string, Saboteur> = {
  'getattr.valid': twist('Tgetattr', () => ({ valid: 0n })),
  'getattr.some': twist('Tgetattr', ({ valid }) => ({ valid: valid & ~GETATTR_SIZE })),
  'getattr.none': twist('Tgetattr', ({ qid }) => ({ qid: { ...qid, path: qid.path + 1n } })),
  ...family('getattr.kind-', ['file', 'directory', 'symlink', 'fifo'], () => kind(0o060000)),
  ...family('getattr.', ['size', 'open', 'symlink-size'], () => twist('Tgetattr', ({ size }) => ({ size: size + 1 }))),
  'getattr.nlink': twist('Tgetattr', ({ nlink }) => ({ nlink: nlink + 1 })),
  'getattr.blocks': twist('Tgetattr', () => ({ blocks: 0 })),
  'getattr.times': twist('Tgetattr', ({ mtime }) => ({ mtime: { ...mtime, nsec: 2e9 } })),
  'getattr.unlinked': fail('Tgetattr', 'ENOENT'),
  'getattr.unknown-fid': permit('Tgetattr'),
  ...family(
    'setattr.',
    [
      ...['mode', 'mode-with-kind', 'mode-special', 'mode-directory', 'truncate', 'extend', 'extend-zeros', 'truncate-open', 'large-size'],
      ...['mtime', 'both-times', 'owner', 'group-alone', 'symlink-times', 'symlink-owner'],
    ],
    unchanged,
  ),
  'setattr.truncate-unlinked': fail('Tsetattr', 'ENOENT'),
  'setattr.truncate-directory': permit('Tsetattr'),
  'setattr.mtime-nsec': alter('Tsetattr', ({ mtime }) => ({ mtime: { ...mtime, nsec: 0 } })),
  'setattr.atime': pretend('Tsetattr', ({ valid }) => (valid & SETATTR_ATIME) !== 0),
  ...family('setattr.', ['mtime-now', 'atime-now'], () => from(2, pretend('Tsetattr'))),
  'setattr.ctime': twist('Tgetattr', () => ({ ctime: { sec: 1, nsec: 0 } })),
  'setattr.ctime-alone': alter('Tsetattr', () => ({ valid: SETATTR_CTIME | SETATTR_SIZE, size: 0 })),
  'setattr.nothing': alter('Tsetattr', () => ({ valid: SETATTR_MODE, mode: 0 })),
  'setattr.only-valid': alter('Tsetattr', ({ valid }) => ({ valid: valid | SETATTR_SIZE })),
  'setattr.owner-setuid': asSetuid(0o4000),
  'setattr.several': alter('Tsetattr', ({ valid }) => ({ valid: valid & ~SETATTR_MODE })),
  'setattr.unknown-fid': permit('Tsetattr'),
  'statfs.sizes': twist('Tstatfs', () => ({ bsize: 0 })),
  'statfs.files': twist('Tstatfs', ({ files }) => ({ ffree: files + 1n })),
  'statfs.name-length': twist('Tstatfs', () => ({ namelen: 300 })),
  'statfs.file': fail('Tstatfs'),
  'statfs.unknown-fid': permit('Tstatfs'),
};

const xattr: Record<string, Saboteur> = {
  ...family(
    'xattr.',
    ['value', 'binary', '2000-bytes', 'offset', 'pieces', 'overwrite', 'directory', 'several', 'fid-kept', 'open-file'],
    () => garble(),
  ),
  ...family('xattr.', ['size', 'list-size'], () => twist('Txattrwalk', ({ size }) => ({ size: size + 1 }))),
  ...family('xattr.', ['at-clunk', 'missing-newfid', 'newfid-in-use', 'unknown-fid'], () => permit('Txattrwalk')),
  ...family('xattr.', ['create', 'replace'], () => alter('Txattrcreate', () => ({ flags: 0 }))),
  'xattr.missing': code('Txattrwalk', 'EIO'),
  'xattr.list': twist('Tread', ({ data }) => ({ data: Buffer.from(data).fill('x') })),
  ...family('xattr.', ['list-empty', 'remove'], () => pretend('Txattrcreate', ({ attrSize }) => attrSize === 0)),
  ...family('xattr.', ['remove-missing', 'no-namespace'], () => any(permit('Tclunk'), permit('Txattrcreate'))),
  'xattr.short': permit('Tclunk'),
  'xattr.short-clunks': after(
    'Txattrcreate',
    fail('Twalk', 'EIO', ({ fid, newfid }) => newfid !== fid),
  ),
  'xattr.over': permit('Twrite'),
  'xattr.too-large': pretend('Txattrcreate', ({ attrSize }) => attrSize > 65536),
  'xattr.huge-claim': permit('Txattrcreate'),
  'xattr.read-only': permit('Twrite'),
  'acl.access': garble(),
  'acl.mode': twist('Tgetattr', ({ mode }) => ({ mode: mode | 0o066 })),
  'acl.chmod': unchanged(),
  ...family('acl.', ['default', 'inherited', 'inherited-access'], () => garble()),
  ...family('acl.', ['default-file', 'malformed'], () => any(permit('Tclunk'), permit('Txattrcreate'))),
  'acl.remove': pretend('Txattrcreate', ({ attrSize }) => attrSize === 0),
};

const links: Record<string, Saboteur> = {
  ...family('symlink.', ['target', 'absolute', 'dotdot', 'bytes', 'long'], () =>
    twist('Treadlink', ({ target }) => ({ target: `${target}/` })),
  ),
  'symlink.qid': twist('Tsymlink', ({ qid }) => ({ qid: { ...qid, type: 0 } })),
  ...family('symlink.', ['empty', 'exists', 'unknown-fid'], () => permit('Tsymlink')),
  'symlink.unlink': hide('f'),
  ...family('readlink.', ['file', 'directory', 'unknown-fid'], () => permit('Treadlink')),
  ...family('symlink.name-', bad, () => permit('Tsymlink')),
  'link.same-file': twist(
    'Twalk',
    ({ wqids }) => ({ wqids: wqids.map((qid) => ({ ...qid, path: qid.path + 1n })) }),
    ({ wnames }) => wnames[0] === 'g',
  ),
  ...family('link.', ['content', 'unlink', 'elsewhere'], () => garble()),
  'link.count': twist('Tgetattr', ({ nlink }) => ({ nlink: nlink + 1 })),
  ...family('link.', ['exists', 'directory', 'in-file', 'unknown-fid'], () => permit('Tlink')),
  'link.symlink': twist('Treadlink', () => ({ target: 'g' })),
  ...family('link.name-', bad, () => permit('Tlink')),
};

const rename: Record<string, Saboteur> = {
  ...family('renameat.', ['file', 'elsewhere', 'replace', 'directory', 'directory-over-empty', 'symlink', 'over-symlink', 'fid-open'], () =>
    pretend('Trenameat'),
  ),
  ...family('renameat.', ['replace-open', 'fid', 'fid-below'], () => garble()),
  ...family(
    'renameat.',
    ['directory-over-full', 'file-over-directory', 'directory-over-file', 'into-itself', 'missing', 'unknown-fid'],
    () => permit('Trenameat'),
  ),
  ...family('renameat.', ['same', 'open-directory'], () => fail('Trenameat', 'EINVAL')),
  'renameat.hard-links': hide('f'),
  'renameat.dotdot': twist(
    'Twalk',
    ({ wqids }) => ({ wqids: wqids.map((qid) => ({ ...qid, path: 9n })) }),
    ({ wnames }) => wnames[0] === '..',
  ),
  ...family('renameat.new-name-', bad, () => permit('Trenameat')),
  ...family('renameat.old-name-', bad, () => permit('Trenameat')),
  ...family('rename.', ['file', 'elsewhere', 'replace', 'fid', 'directory'], () => pretend('Trename')),
  ...family('rename.', ['root', 'unknown-fid', 'to-file'], () => permit('Trename')),
  ...family('rename.name-', bad, () => permit('Trename')),
};

const remove: Record<string, Saboteur> = {
  ...family('unlinkat.', ['file', 'directory', 'symlink', 'open-directory'], () => pretend('Tunlinkat')),
  ...family('unlinkat.', ['directory-no-flag', 'file-flag', 'full', 'unknown-fid'], () => permit('Tunlinkat')),
  'unlinkat.missing': code('Tunlinkat', 'EIO'),
  'unlinkat.open-file': garble(),
  'unlinkat.fid-kept': after('Tunlinkat', fail('Twalk')),
  ...family('unlinkat.name-', bad, () => permit('Tunlinkat')),
  ...family('remove.', ['file', 'directory', 'open', 'clunks'], () => pretend('Tremove')),
  ...family('remove.', ['full', 'unknown-fid'], () => permit('Tremove')),
  'remove.failed-clunks': after('Tremove', permit('Twalk')),
  'remove.others-kept': garble(),
  ...family('clunk.', ['ends', 'frees', 'twice'], () => pretend('Tclunk')),
  'clunk.unknown-fid': permit('Tclunk'),
  'clunk.keeps-data': pretend('Twrite'),
  'clunk.keeps-file': hide('f'),
};

export const files = { ...open, ...create, ...io, ...readdir, ...attributes, ...xattr, ...links, ...rename, ...remove };

/** For the checks that only the older dialects have. */
export const older: Record<string, Saboteur> = {
  'dirread.all': twist('Tread', () => ({ data: Buffer.alloc(0) })),
  'dirread.whole': twist('Tread', ({ data }) => ({ data: data.subarray(0, Math.max(0, data.length - 1)) })),
  'dirread.rewind': from(
    3,
    twist('Tread', () => ({ data: Buffer.alloc(0) })),
  ),
  'dirread.end': from(
    2,
    respond('Tread', () => ({ data: Buffer.alloc(1) })),
  ),
  'stat.fields': twist('Tstat', ({ stat }) => ({ stat: { ...stat, name: 'other' } })),
  'stat.size': spoil('Tstat', (frame) => {
    frame[7] = 0;
    frame[8] = 0;
  }),
  'stat.directory': twist('Tstat', ({ stat }) => ({ stat: { ...stat, mode: 0o755 } })),
  ...family('stat.', ['unknown-fid'], () => permit('Tstat')),
  'stat.open': twist('Tstat', ({ stat }) => ({ stat: { ...stat, length: stat.length + 1 } })),
  'stat.numbers': twist('Tstat', ({ stat }) => ({ stat: { ...stat, nUid: 0xffffffff } })),
  'wstat.sync': swallow('Twstat'),
  'wstat.nothing': alter('Twstat', ({ stat }) => ({ stat: { ...stat, length: 0 } })),
  ...family('wstat.', ['length', 'mode', 'mtime', 'name', 'owner'], () => pretend('Twstat')),
  ...family('wstat.', ['kind', 'name-slash', 'unknown-fid'], () => permit('Twstat')),
  'u.symlink': twist('Tstat', ({ stat }) => ({ stat: { ...stat, extension: 'elsewhere' } })),
  'u.fifo': twist('Tstat', ({ stat }) => ({ stat: { ...stat, mode: 0o644 } })),
  'u.device': twist('Tstat', ({ stat }) => ({ stat: { ...stat, extension: 'b 5 3' } })),
  'u.link': twist(
    'Twalk',
    ({ wqids }) => ({ wqids: wqids.map((qid) => ({ ...qid, path: 99n })) }),
    ({ wnames }) => wnames[0] === 'g',
  ),
  'u.setuid': pretend('Twstat'),
  'u.error': code('Twalk', 'EIO'),
};

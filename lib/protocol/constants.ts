/** Version strings a Tversion may carry (9P2000.L protocol description; version(5)). */
export const VERSION_L = '9P2000.L';
export const VERSION_U = '9P2000.u';
export const VERSION_LEGACY = '9P2000';
export const VERSION_UNKNOWN = 'unknown';

/** The three dialects this package speaks. */
export type Dialect = typeof VERSION_L | typeof VERSION_U | typeof VERSION_LEGACY;

/** The tag of Tversion, and of nothing else (version(5)). */
export const NOTAG = 0xffff;
/** "No fid": the afid of an attach without authentication (attach(5)). */
export const NOFID = 0xffffffff;
/** "No user id": n_uname of an attach that names its user by uname only (9P2000.u). */
export const NONUNAME = 0xffffffff;

/** Bytes of size[4] type[1] tag[2]. */
export const HEADER_SIZE = 7;
/**
 * What a read, write or readdir must leave free below msize. A Twrite header is 23 bytes, an Rread header 11;
 * peers agree on 24 (Linux `include/net/9p/9p.h`, P9_IOHDRSZ).
 */
export const IOHDRSZ = 24;
/** Below this, QEMU and Linux refuse to talk. */
export const MIN_MSIZE = 4096;
/** What this package asks for when nobody says otherwise: 1 MiB of payload. */
export const DEFAULT_MSIZE = 1024 * 1024 + IOHDRSZ;
/** Names in one Twalk (walk(5), MAXWELEM). */
export const MAXWELEM = 16;
/** The longest name Linux accepts in a directory, in bytes (limits.h, NAME_MAX). */
export const NAME_MAX = 255;

/** qid.type bits (stat(5); QTSYMLINK and QTLINK from 9P2000.u). */
export const QTDIR = 0x80;
export const QTAPPEND = 0x40;
export const QTEXCL = 0x20;
export const QTMOUNT = 0x10;
export const QTAUTH = 0x08;
export const QTTMP = 0x04;
export const QTSYMLINK = 0x02;
export const QTLINK = 0x01;
export const QTFILE = 0x00;

/** Flags of Tlopen and Tlcreate: Linux/x86 numbers on the wire, whatever the host (Linux `include/net/9p/9p.h`). */
export const L_O_RDONLY = 0o0;
export const L_O_WRONLY = 0o1;
export const L_O_RDWR = 0o2;
export const L_O_ACCMODE = 0o3;
export const L_O_CREAT = 0o100;
export const L_O_EXCL = 0o200;
export const L_O_NOCTTY = 0o400;
export const L_O_TRUNC = 0o1000;
export const L_O_APPEND = 0o2000;
export const L_O_NONBLOCK = 0o4000;
export const L_O_DSYNC = 0o10000;
export const L_O_FASYNC = 0o20000;
export const L_O_DIRECT = 0o40000;
export const L_O_LARGEFILE = 0o100000;
export const L_O_DIRECTORY = 0o200000;
export const L_O_NOFOLLOW = 0o400000;
export const L_O_NOATIME = 0o1000000;
export const L_O_CLOEXEC = 0o2000000;
export const L_O_SYNC = 0o4000000;

/** Tgetattr request_mask and Rgetattr valid bits. */
export const GETATTR_MODE = 0x1n;
export const GETATTR_NLINK = 0x2n;
export const GETATTR_UID = 0x4n;
export const GETATTR_GID = 0x8n;
export const GETATTR_RDEV = 0x10n;
export const GETATTR_ATIME = 0x20n;
export const GETATTR_MTIME = 0x40n;
export const GETATTR_CTIME = 0x80n;
export const GETATTR_INO = 0x100n;
export const GETATTR_SIZE = 0x200n;
export const GETATTR_BLOCKS = 0x400n;
export const GETATTR_BTIME = 0x800n;
export const GETATTR_GEN = 0x1000n;
export const GETATTR_DATA_VERSION = 0x2000n;
export const GETATTR_BASIC = 0x7ffn;
export const GETATTR_ALL = 0x3fffn;

/** Tsetattr valid bits. A time bit without its _SET bit means the server's own "now". */
export const SETATTR_MODE = 0x1;
export const SETATTR_UID = 0x2;
export const SETATTR_GID = 0x4;
export const SETATTR_SIZE = 0x8;
export const SETATTR_ATIME = 0x10;
export const SETATTR_MTIME = 0x20;
export const SETATTR_CTIME = 0x40;
export const SETATTR_ATIME_SET = 0x80;
export const SETATTR_MTIME_SET = 0x100;

/** Tlock and Tgetlock types, flags, and Rlock status. */
export const LOCK_TYPE_RDLCK = 0;
export const LOCK_TYPE_WRLCK = 1;
export const LOCK_TYPE_UNLCK = 2;
export const LOCK_FLAGS_BLOCK = 1;
export const LOCK_FLAGS_RECLAIM = 2;
export const LOCK_SUCCESS = 0;
export const LOCK_BLOCKED = 1;
export const LOCK_ERROR = 2;
export const LOCK_GRACE = 3;

/** Tunlinkat flag: remove a directory (Linux AT_REMOVEDIR). */
export const AT_REMOVEDIR = 0x200;

/** Txattrcreate flags (setxattr(2)). */
export const XATTR_CREATE = 1;
export const XATTR_REPLACE = 2;
/**
 * The attribute whose Txattrwalk asks our own server to have a request wait for those before it that make the fid it names, so that the two may
 * be sent together; it holds until the session ends. Other servers have no such attribute and may do requests in any order. The size of its value tells what else this
 * one has: from ORDERED_CREATES on, Tcreateat.
 */
export const ORDERED_XATTR = 'ninep.ordered';
export const ORDERED_CREATES = 2;
/**
 * The attribute whose Txattrwalk asks our own server for the descriptor that it has an open fid open by, which comes along with the reply over a unix socket
 * (SCM_RIGHTS). `newfid` is NOFID: no fid is made. With a fid that is not open it says whether that is done in this conversation at all. Refused with
 * EOPNOTSUPP where it is not: to peers that are not root's, in read-only exports, for files without content of their own in the page cache.
 */
export const DESCRIPTOR_XATTR = 'ninep.descriptor';
/**
 * The attribute whose Txattrwalk, with NOFID for `newfid`, has our own server watch an open directory for new names: the reply's size is the watch's number in the inotify(7) queue
 * whose descriptor comes along with it, the same queue in all of a conversation. Refused with EOPNOTSUPP where DESCRIPTOR_XATTR is, and on file systems that do not tell.
 */
export const WATCH_XATTR = 'ninep.watch';
/** The largest value Linux stores in one extended attribute, in bytes (linux/limits.h). */
export const XATTR_SIZE_MAX = 65536;

/** File type bits of st_mode (inode(7)). */
export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;
export const S_ISUID = 0o4000;
export const S_ISGID = 0o2000;
export const S_ISVTX = 0o1000;

/** Directory entry types (readdir(3)): the file type bits shifted right by 12. */
export const DT_UNKNOWN = 0;
export const DT_FIFO = 1;
export const DT_CHR = 2;
export const DT_DIR = 4;
export const DT_BLK = 6;
export const DT_REG = 8;
export const DT_LNK = 10;
export const DT_SOCK = 12;

/** Open modes of 9P2000 and 9P2000.u (open(5)). */
export const OREAD = 0;
export const OWRITE = 1;
export const ORDWR = 2;
export const OEXEC = 3;
export const OTRUNC = 0x10;
export const OCEXEC = 0x20;
export const ORCLOSE = 0x40;
export const OEXCL = 0x1000;

/** Permission bits of 9P2000 (stat(5)) and of 9P2000.u. */
export const DMDIR = 0x80000000;
export const DMAPPEND = 0x40000000;
export const DMEXCL = 0x20000000;
export const DMMOUNT = 0x10000000;
export const DMAUTH = 0x08000000;
export const DMTMP = 0x04000000;
export const DMSYMLINK = 0x02000000;
export const DMLINK = 0x01000000;
export const DMDEVICE = 0x00800000;
export const DMNAMEDPIPE = 0x00200000;
export const DMSOCKET = 0x00100000;
export const DMSETUID = 0x00080000;
export const DMSETGID = 0x00040000;
export const DMSETVTX = 0x00010000;

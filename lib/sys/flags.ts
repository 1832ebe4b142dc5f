import { constants } from 'node:fs';

/**
 * Numbers of open(2) and its relatives on this host. The ones whose value depends on the architecture come from Node, which was compiled
 * for it; the rest are the same everywhere Linux runs Node.
 */
export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_ACCMODE = 3;
export const O_CREAT = constants.O_CREAT;
export const O_EXCL = constants.O_EXCL;
export const O_NOCTTY = constants.O_NOCTTY;
export const O_TRUNC = constants.O_TRUNC;
export const O_APPEND = constants.O_APPEND;
export const O_NONBLOCK = constants.O_NONBLOCK;
export const O_SYNC = constants.O_SYNC ?? 0o4010000;
export const O_DSYNC = constants.O_DSYNC ?? 0o10000;
export const O_DIRECTORY = constants.O_DIRECTORY ?? 0o200000;
export const O_NOFOLLOW = constants.O_NOFOLLOW ?? 0o400000;
export const O_NOATIME = constants.O_NOATIME ?? 0o1000000;
export const O_CLOEXEC = 0o2000000;
export const O_PATH = 0o10000000;

export const AT_FDCWD = -100;
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_REMOVEDIR = 0x200;
export const AT_SYMLINK_FOLLOW = 0x400;
export const AT_EMPTY_PATH = 0x1000;
/** statx(2): what is known without asking a file server. */
export const AT_STATX_DONT_SYNC = 0x4000;

/** utimensat(2): nanoseconds that mean "now" and "leave it". */
export const UTIME_NOW = 0x3fffffff;
export const UTIME_OMIT = 0x3ffffffe;

/** preadv2(2): EAGAIN rather than wait for the disk. */
export const RWF_NOWAIT = 0x8;

/** Numbers of the FUSE kernel protocol, version 7 (Linux include/uapi/linux/fuse.h). */
export const KERNEL_VERSION = 7;
/** The oldest minor version that has everything this package relies on (max_pages, cached symlinks, explicit invalidation). */
export const OLDEST_MINOR = 31;
/** The minor version that the structures here follow. */
export const KERNEL_MINOR = 41;

/** The node every mount begins with. */
export const ROOT_ID = 1;

export const IN_HEADER_SIZE = 40;
export const OUT_HEADER_SIZE = 16;
/** What a read of the device must leave beside max_write: header, struct fuse_write_in, and room to spare. */
export const HEADER_ROOM = 4096;

/** setattr: fields that are valid. */
export const FATTR_MODE = 1 << 0;
export const FATTR_UID = 1 << 1;
export const FATTR_GID = 1 << 2;
export const FATTR_SIZE = 1 << 3;
export const FATTR_ATIME = 1 << 4;
export const FATTR_MTIME = 1 << 5;
export const FATTR_FH = 1 << 6;
export const FATTR_ATIME_NOW = 1 << 7;
export const FATTR_MTIME_NOW = 1 << 8;
export const FATTR_LOCKOWNER = 1 << 9;
export const FATTR_CTIME = 1 << 10;
export const FATTR_KILL_SUIDGID = 1 << 11;

/** What an open reply tells the kernel. */
export const FOPEN_DIRECT_IO = 1 << 0;
export const FOPEN_KEEP_CACHE = 1 << 1;
export const FOPEN_NONSEEKABLE = 1 << 2;
export const FOPEN_CACHE_DIR = 1 << 3;
export const FOPEN_STREAM = 1 << 4;
export const FOPEN_NOFLUSH = 1 << 5;
export const FOPEN_PARALLEL_DIRECT_WRITES = 1 << 6;
/** Reads, writes and mappings go to a file that was registered as the backing one, and none of them comes here. */
export const FOPEN_PASSTHROUGH = 1 << 7;

/** INIT flags. */
export const INIT_ASYNC_READ = 1 << 0;
export const INIT_POSIX_LOCKS = 1 << 1;
export const INIT_ATOMIC_O_TRUNC = 1 << 3;
export const INIT_EXPORT_SUPPORT = 1 << 4;
export const INIT_BIG_WRITES = 1 << 5;
export const INIT_DONT_MASK = 1 << 6;
export const INIT_FLOCK_LOCKS = 1 << 10;
export const INIT_HAS_IOCTL_DIR = 1 << 11;
export const INIT_AUTO_INVAL_DATA = 1 << 12;
export const INIT_DO_READDIRPLUS = 1 << 13;
export const INIT_READDIRPLUS_AUTO = 1 << 14;
export const INIT_ASYNC_DIO = 1 << 15;
export const INIT_WRITEBACK_CACHE = 1 << 16;
export const INIT_NO_OPEN_SUPPORT = 1 << 17;
export const INIT_PARALLEL_DIROPS = 1 << 18;
export const INIT_HANDLE_KILLPRIV = 1 << 19;
export const INIT_POSIX_ACL = 1 << 20;
export const INIT_ABORT_ERROR = 1 << 21;
export const INIT_MAX_PAGES = 1 << 22;
export const INIT_CACHE_SYMLINKS = 1 << 23;
export const INIT_NO_OPENDIR_SUPPORT = 1 << 24;
export const INIT_EXPLICIT_INVAL_DATA = 1 << 25;
export const INIT_HANDLE_KILLPRIV_V2 = 1 << 28;
export const INIT_SETXATTR_EXT = 1 << 29;
export const INIT_EXT = 1 << 30;

/** INIT flags2: bits 32 and up of the flags, shifted down. */
export const INIT2_CREATE_SUPP_GROUP = 1 << 2;
export const INIT2_HAS_EXPIRE_ONLY = 1 << 3;
export const INIT2_DIRECT_IO_ALLOW_MMAP = 1 << 4;
export const INIT2_PASSTHROUGH = 1 << 5;

export const GETATTR_FH = 1 << 0;
export const LK_FLOCK = 1 << 0;
export const RELEASE_FLUSH = 1 << 0;
export const RELEASE_FLOCK_UNLOCK = 1 << 1;
export const WRITE_CACHE = 1 << 0;
export const WRITE_LOCKOWNER = 1 << 1;
export const WRITE_KILL_SUIDGID = 1 << 2;
export const OPEN_KILL_SUIDGID = 1 << 0;
export const SETXATTR_ACL_KILL_SGID = 1 << 0;
export const FSYNC_FDATASYNC = 1 << 0;

/** Notification codes. */
export const NOTIFY_INVAL_INODE = 2;
export const NOTIFY_INVAL_ENTRY = 3;
export const NOTIFY_STORE = 4;
export const NOTIFY_DELETE = 6;

/** fcntl lock types as the kernel passes them (asm-generic/fcntl.h). */
export const F_RDLCK = 0;
export const F_WRLCK = 1;
export const F_UNLCK = 2;
/** The end of a lock range that reaches to the end of the file: OFFSET_MAX, rounded as doubles are. */
export const OFFSET_MAX = 2 ** 63;

/** renameat2(2). */
export const RENAME_NOREPLACE = 1 << 0;
export const RENAME_EXCHANGE = 1 << 1;
export const RENAME_WHITEOUT = 1 << 2;

/** What the server calls a file: two files are the same if type and path are (intro(5)). */
export interface Qid {
  /** QT* bits. */
  type: number;
  /** Changes whenever the file does; 0 where the server keeps none. */
  version: number;
  /** Unique among the files of one server, 64 bits. */
  path: bigint;
}

/** A point in time as the wire has it. */
export interface Timespec {
  /** Seconds since 1970; negative before. */
  sec: number;
  /** Nanoseconds, 0 to 999,999,999. */
  nsec: number;
}

/** What Rgetattr tells of a file. Fields whose GETATTR_ bit is missing from `valid` mean nothing. */
export interface Attributes {
  valid: bigint;
  qid: Qid;
  mode: number;
  uid: number;
  gid: number;
  nlink: number;
  /** Device number of a device node, in Linux's own encoding (makedev(3)). */
  rdev: bigint;
  /** Bytes. */
  size: number;
  /** Preferred transfer size, bytes. */
  blksize: number;
  /** Blocks of 512 bytes. */
  blocks: number;
  atime: Timespec;
  mtime: Timespec;
  ctime: Timespec;
  btime: Timespec;
  gen: bigint;
  dataVersion: bigint;
}

/** What Tsetattr is to change: the fields whose SETATTR_ bit is in `valid`. */
export interface SetAttributes {
  valid: number;
  mode: number;
  uid: number;
  gid: number;
  /** Bytes. */
  size: number;
  atime: Timespec;
  mtime: Timespec;
}

/** One entry of an Rreaddir. */
export interface DirectoryEntry {
  qid: Qid;
  /** Opaque: what a later Treaddir gives to go on after this entry. */
  offset: bigint;
  /** DT_* value. */
  type: number;
  name: string;
}

/** What Rstatfs tells (statfs(2)). */
export interface FileSystemStatistics {
  type: number;
  /** Bytes in a block. */
  bsize: number;
  blocks: bigint;
  bfree: bigint;
  bavail: bigint;
  files: bigint;
  ffree: bigint;
  fsid: bigint;
  namelen: number;
}

/** A byte range as Tlock and Tgetlock carry it. */
export interface LockRange {
  /** LOCK_TYPE_*. */
  type: number;
  /** Bytes. */
  start: number;
  /** Bytes; 0 means to the end of the file, wherever that moves. */
  length: number;
  /** The locking process, as the client numbers it. */
  procId: number;
  /** The client, as it names itself. */
  clientId: string;
}

/** The stat structure of 9P2000 (stat(5)); the last four fields are 9P2000.u's. */
export interface LegacyStat {
  type: number;
  dev: number;
  qid: Qid;
  /** Permission bits and DM* flags. */
  mode: number;
  /** Seconds since 1970. */
  atime: number;
  mtime: number;
  /** Bytes. */
  length: number;
  name: string;
  uid: string;
  gid: string;
  muid: string;
  extension: string;
  nUid: number;
  nGid: number;
  nMuid: number;
}

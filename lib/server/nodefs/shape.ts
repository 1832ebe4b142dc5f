/** A stat as `node:fs` gives it with `{ bigint: true }`: the fields this adapter reads. */
export interface StatLike {
  dev: bigint;
  ino: bigint;
  mode: bigint;
  nlink: bigint;
  uid: bigint;
  gid: bigint;
  rdev: bigint;
  size: bigint;
  blksize: bigint;
  blocks: bigint;
  atimeNs: bigint;
  mtimeNs: bigint;
  ctimeNs: bigint;
  birthtimeNs: bigint;
}

/** A statfs as `node:fs` gives it with `{ bigint: true }`. */
export interface StatFsLike {
  type: bigint;
  bsize: bigint;
  blocks: bigint;
  bfree: bigint;
  bavail: bigint;
  files: bigint;
  ffree: bigint;
}

/** An open file as `node:fs/promises` gives it: the methods this adapter calls. */
export interface FileHandleLike {
  read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number }>;
  write(buffer: Uint8Array, offset: number, length: number, position: number | null): Promise<{ bytesWritten: number }>;
  stat(options: { bigint: true }): Promise<StatLike>;
  truncate(length: number): Promise<void>;
  chmod(mode: number): Promise<void>;
  chown(uid: number, gid: number): Promise<void>;
  utimes(atime: number, mtime: number): Promise<void>;
  sync(): Promise<void>;
  datasync(): Promise<void>;
  close(): Promise<void>;
}

/**
 * What can be served: `node:fs/promises` itself, the `promises` of memfs or of any other file system of that shape. Where an
 * optional method is missing, the requests that need it are answered EOPNOTSUPP.
 */
export interface PromisesLike {
  lstat(path: string, options: { bigint: true }): Promise<StatLike>;
  open(path: string, flags: number, mode?: number): Promise<FileHandleLike>;
  readdir(path: string): Promise<string[]>;
  mkdir?(path: string, mode?: number): Promise<unknown>;
  rmdir?(path: string): Promise<void>;
  unlink?(path: string): Promise<void>;
  rename?(from: string, to: string): Promise<void>;
  link?(existing: string, path: string): Promise<void>;
  symlink?(target: string, path: string): Promise<void>;
  readlink?(path: string): Promise<string>;
  chmod?(path: string, mode: number): Promise<void>;
  lchown?(path: string, uid: number, gid: number): Promise<void>;
  utimes?(path: string, atime: number, mtime: number): Promise<void>;
  lutimes?(path: string, atime: number, mtime: number): Promise<void>;
  statfs?(path: string, options: { bigint: true }): Promise<StatFsLike>;
}

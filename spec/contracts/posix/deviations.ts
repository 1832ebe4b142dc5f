/**
 * Where a file system is known to differ from the local disk, and why. A listed assertion must fail: one that passes is struck off the list, and the suite says so.
 */
export interface Deviation {
  /** `group: assertion`, or the beginning of such names followed by `*`: then all that begin so. */
  readonly assertion: string;
  readonly reason: string;
  /** Fails now and then, or only with some kernels: passing is no error. */
  readonly sometimes?: boolean;
}

export function covers(deviation: Deviation, name: string): boolean {
  return deviation.assertion.endsWith('*') ? name.startsWith(deviation.assertion.slice(0, -1)) : deviation.assertion === name;
}

/** What 9P2000.L has no message for: so no mount can do it, whoever serves. */
export const ofTheProtocol: readonly Deviation[] = [
  { assertion: 'open: O_TMPFILE: a file without a name', reason: 'every file is made under a name' },
  { assertion: 'rename: RENAME_EXCHANGE: *', reason: 'Trenameat exchanges nothing; EINVAL makes programs do it their own way' },
  { assertion: 'setid: fallocate: punching a hole by another*', reason: 'no message punches holes' },
  { assertion: 'io: fallocate: KEEP_SIZE', reason: 'no message reserves blocks' },
  { assertion: 'io: fallocate: PUNCH_HOLE*', reason: 'no message punches holes' },
];

/** `ninep serve`: a write does not say whether its writer was privileged, so set-user-ID and set-group-ID go at every write, as in an NFS server. */
export const ofNinepServe: readonly Deviation[] = [
  ...['write', 'pwrite', 'ftruncate', 'truncate', 'O_TRUNC'].map((way) => ({
    assertion: `setid: a change of the content: ${way} on 06777 by root: mode`,
    reason: 'the server takes set-user-ID and set-group-ID at every write, whoever writes',
  })),
];

/** diod 1.0.24 and QEMU before 10 look attributes up by path, also through the fid of an open file. */
export const ofPathFids: readonly Deviation[] = [
  { assertion: 'unlink: a file still open: ftruncate', reason: 'Tsetattr goes by the path, which is gone' },
  { assertion: 'unlink: a file still open: size after ftruncate', reason: 'as it could not be cut' },
  { assertion: 'unlink: a file still open: the old one is untouched', reason: 'as it could not be cut' },
  { assertion: 'rename: over what exists: and truncated', reason: 'Tsetattr goes by the path, where another file is now' },
  { assertion: 'utimensat: symbolic links and descriptors: its times', reason: 'the access time of a file without a name is not kept' },
];

/** diod 1.0.24 locks whole files only, whatever range is asked for. */
export const ofDiod: readonly Deviation[] = [
  ...[
    'the range behind it',
    'EAGAIN for that, by the first',
    'tells the type',
    'and the range',
    'EAGAIN before it',
    'EAGAIN behind it',
    'to the end of the file and beyond',
    'EAGAIN far beyond',
  ].map((what) => ({ assertion: `locks: ranges of bytes: ${what}`, reason: 'a lock is the whole file’s' })),
];

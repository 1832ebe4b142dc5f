/** What the mapped models keep of a file; a field that is absent is the host's own. */
export interface Credentials {
  uid?: number | undefined;
  gid?: number | undefined;
  /** With the file type. */
  mode?: number | undefined;
  rdev?: bigint | undefined;
}

/** The directory beside mapped files, and the root's own file (QEMU hw/9pfs, security_model=mapped-file). */
export const METADATA_DIRECTORY = '.virtfs_metadata';
export const METADATA_ROOT = '.virtfs_metadata_root';

/** Takes the text of a metadata file: lines of key=number. What is none of the four keys is passed over. */
export function parseMetadata(text: string): Credentials {
  const found: Credentials = {};
  for (const line of text.split('\n')) {
    const match = /^virtfs\.(uid|gid|mode|rdev)=\s*([+-]?\d+)/.exec(line);
    if (match === null) continue;
    // Numbers are C's int there: ids and device numbers of 2³¹ and more show up negative.
    const value = Number(match[2]) >>> 0;
    if (match[1] === 'uid') found.uid = value;
    else if (match[1] === 'gid') found.gid = value;
    else if (match[1] === 'mode') found.mode = value;
    else found.rdev = BigInt(value);
  }
  return found;
}

/** The text of a metadata file, in the order and the signed 32 bits that QEMU writes. */
export function formatMetadata({ uid, gid, mode, rdev }: Credentials): string {
  let text = '';
  if (uid !== undefined) text += `virtfs.uid=${uid | 0}\n`;
  if (gid !== undefined) text += `virtfs.gid=${gid | 0}\n`;
  if (mode !== undefined) text += `virtfs.mode=${mode | 0}\n`;
  if (rdev !== undefined) text += `virtfs.rdev=${Number(BigInt.asIntN(32, rdev))}\n`;
  return text;
}

/** Puts `change` over `before`. */
export function mergeCredentials(before: Credentials, change: Credentials): Credentials {
  return {
    uid: change.uid ?? before.uid,
    gid: change.gid ?? before.gid,
    mode: change.mode ?? before.mode,
    rdev: change.rdev ?? before.rdev,
  };
}

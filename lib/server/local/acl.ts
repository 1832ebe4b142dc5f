/**
 * POSIX ACLs as the xattrs system.posix_acl_access and system.posix_acl_default carry them (acl(5), Linux uapi posix_acl_xattr.h):
 * a version word, then entries of tag[2] perm[2] id[4], little endian, sorted by tag and id.
 */
export interface AclEntry {
  tag: number;
  perm: number;
  id: number;
}

export const ACL_ACCESS = 'system.posix_acl_access';
export const ACL_DEFAULT = 'system.posix_acl_default';

const VERSION = 2;
export const ACL_USER_OBJ = 0x01;
export const ACL_USER = 0x02;
export const ACL_GROUP_OBJ = 0x04;
export const ACL_GROUP = 0x08;
export const ACL_MASK = 0x10;
export const ACL_OTHER = 0x20;
const NO_ID = 0xffffffff;

/** The entries of an ACL, or undefined if the bytes are none that Linux would take. */
export function parseAcl(bytes: Uint8Array): AclEntry[] | undefined {
  if (bytes.length < 4 || (bytes.length - 4) % 8 !== 0) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== VERSION) return undefined;
  const entries: AclEntry[] = [];
  for (let at = 4; at < bytes.length; at += 8) {
    entries.push({ tag: view.getUint16(at, true), perm: view.getUint16(at + 2, true), id: view.getUint32(at + 4, true) });
  }
  return sound(entries) ? entries : undefined;
}

/** Each class once, in order, a mask wherever somebody is named (Linux posix_acl_valid). */
function sound(entries: readonly AclEntry[]): boolean {
  const seen = new Map<number, number>();
  let last = 0;
  for (const { tag, perm } of entries) {
    if (![ACL_USER_OBJ, ACL_USER, ACL_GROUP_OBJ, ACL_GROUP, ACL_MASK, ACL_OTHER].includes(tag) || perm > 7 || tag < last) return false;
    last = tag;
    seen.set(tag, (seen.get(tag) ?? 0) + 1);
  }
  const count = (tag: number) => seen.get(tag) ?? 0;
  const named = count(ACL_USER) + count(ACL_GROUP) > 0;
  return (
    count(ACL_USER_OBJ) === 1 &&
    count(ACL_GROUP_OBJ) === 1 &&
    count(ACL_OTHER) === 1 &&
    count(ACL_MASK) <= 1 &&
    (!named || count(ACL_MASK) === 1)
  );
}

/** The bytes of an ACL. */
export function formatAcl(entries: readonly AclEntry[]): Uint8Array {
  const bytes = new Uint8Array(4 + entries.length * 8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, VERSION, true);
  entries.forEach(({ tag, perm, id }, index) => {
    const at = 4 + index * 8;
    view.setUint16(at, tag, true);
    view.setUint16(at + 2, perm, true);
    view.setUint32(at + 4, tag === ACL_USER || tag === ACL_GROUP ? id : NO_ID, true);
  });
  return bytes;
}

/** Whether the ACL says no more than permission bits can. */
export function isMinimal(entries: readonly AclEntry[]): boolean {
  return entries.length === 3;
}

/** The permission bits that go with an ACL: the group's are the mask's where there is one. */
export function modeOfAcl(entries: readonly AclEntry[]): number {
  const perm = (tag: number) => entries.find((entry) => entry.tag === tag)?.perm;
  return ((perm(ACL_USER_OBJ) ?? 0) << 6) | ((perm(ACL_MASK) ?? perm(ACL_GROUP_OBJ) ?? 0) << 3) | (perm(ACL_OTHER) ?? 0);
}

/** The ACL after chmod(2) to `mode`. */
export function withMode(entries: readonly AclEntry[], mode: number): AclEntry[] {
  const group = entries.some(({ tag }) => tag === ACL_MASK) ? ACL_MASK : ACL_GROUP_OBJ;
  return entries.map((entry) => {
    if (entry.tag === ACL_USER_OBJ) return { ...entry, perm: (mode >> 6) & 7 };
    if (entry.tag === group) return { ...entry, perm: (mode >> 3) & 7 };
    if (entry.tag === ACL_OTHER) return { ...entry, perm: mode & 7 };
    return entry;
  });
}

/** What a new file gets from its directory's default ACL when it is made with `mode`: both are narrowed to what they have in common. */
export function inheritAcl(entries: readonly AclEntry[], mode: number): { acl: AclEntry[]; mode: number } {
  const allowed = modeOfAcl(entries);
  const narrowed = (mode & ~0o777) | (mode & allowed & 0o777);
  return { acl: withMode(entries, narrowed), mode: narrowed };
}

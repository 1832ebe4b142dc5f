import { XATTR_CREATE, XATTR_REPLACE } from '../../protocol/constants.js';
import { type Check, checks } from '../check.js';
import { octal, refused, same, that, unless, unlessRefused } from '../expect.js';
import type { Handle } from '../handle.js';
import { STRANGER, type Trial } from '../trial.js';
import { pattern } from './io.js';

/** A file with an attribute, on a file system that has them. */
async function marked(t: Trial, value: string | Uint8Array = 'value', name = 'user.ninep'): Promise<Handle> {
  const file = await t.file('content');
  await file.setxattr(name, value);
  return file;
}

export const xattr: Check[] = checks(
  'xattr',
  { source: '9P2000.L protocol description: xattrwalk, xattrcreate; xattr(7)' },
  {
    'xattr.value': [
      'A value that was set can be read',
      async (t) => same(await (await marked(t)).getxattr('user.ninep'), Buffer.from('value'), 'the value'),
    ],
    'xattr.size': [
      'Rxattrwalk tells the size of the value',
      async (t) => same((await (await marked(t)).xattrwalk('user.ninep')).size, 5, 'the size'),
    ],
    'xattr.binary': [
      'A value is any bytes',
      async (t) => {
        const value = Buffer.from([0, 255, 10, 0, 128, 0]);
        same(await (await marked(t, value)).getxattr('user.ninep'), value, 'the value');
      },
    ],
    'xattr.2000-bytes': [
      'A value may have 2000 bytes',
      async (t) => same(await (await marked(t, pattern(2000))).getxattr('user.ninep'), pattern(2000), 'the value'),
    ],
    'xattr.offset': [
      'A value can be read from any offset',
      async (t) => {
        const { fid } = await (await marked(t, '0123456789')).xattrwalk('user.ninep');
        same(await fid.read(4, 3), Buffer.from('456'), 'the data');
        same((await fid.read(10, 3)).length, 0, 'the count at the end');
      },
    ],
    'xattr.pieces': [
      'A value may be written in pieces',
      async (t) => {
        const file = await t.file();
        const fid = await file.clone();
        await fid.xattrcreate('user.ninep', 6);
        await fid.write(0, 'abc');
        await fid.write(3, 'def');
        await fid.clunk();
        same(await file.getxattr('user.ninep'), Buffer.from('abcdef'), 'the value');
      },
    ],
    'xattr.at-clunk': [
      'A value is set when the fid is clunked, and not before',
      async (t) => {
        const file = await t.file();
        const fid = await file.clone();
        await fid.xattrcreate('user.ninep', 3);
        await fid.write(0, 'abc');
        await refused(file.getxattr('user.ninep'), 'ENODATA');
        await fid.clunk();
        same(await file.getxattr('user.ninep'), Buffer.from('abc'), 'the value');
      },
    ],
    'xattr.overwrite': [
      'A new value takes the place of the old one, also if it is shorter',
      async (t) => {
        const file = await marked(t, 'a long value');
        await file.setxattr('user.ninep', 'short');
        same(await file.getxattr('user.ninep'), Buffer.from('short'), 'the value');
      },
    ],
    'xattr.create': [
      'With CREATE an attribute that is there is refused: EEXIST',
      async (t) => {
        const file = await marked(t);
        await refused(file.setxattr('user.ninep', 'x', XATTR_CREATE), 'EEXIST');
        same(await file.getxattr('user.ninep'), Buffer.from('value'), 'the value');
      },
      { source: 'setxattr(2)' },
    ],
    'xattr.replace': [
      'With REPLACE an attribute that is not there is refused: ENODATA',
      async (t) => {
        const file = await marked(t);
        await refused(file.setxattr('user.other', 'x', XATTR_REPLACE), 'ENODATA');
        await file.setxattr('user.ninep', 'new', XATTR_REPLACE);
        same(await file.getxattr('user.ninep'), Buffer.from('new'), 'the value');
      },
      { source: 'setxattr(2)' },
    ],
    'xattr.missing': [
      'An attribute that is not there is ENODATA',
      async (t) => refused((await marked(t)).xattrwalk('user.other'), 'ENODATA'),
      { source: 'getxattr(2)' },
    ],
    'xattr.missing-newfid': [
      'If the attribute is not there, there is no newfid',
      async (t) => {
        const file = await marked(t);
        const newfid = t.newFid();
        await refused(file.request('Txattrwalk', { newfid, name: 'user.other' }));
        await refused(t.request('Tread', { fid: newfid, offset: 0, count: 1 }));
        await t.request('Twalk', { fid: file.number, newfid, wnames: [] });
      },
    ],
    'xattr.list': [
      'The empty name gives the list of names, each with a NUL behind it',
      async (t) => {
        const file = await marked(t);
        await file.setxattr('user.other', 'x');
        const list = (await file.getxattr('')).toString();
        that(list.endsWith('\0'), 'the list does not end with NUL');
        const names = list.split('\0');
        that(names.includes('user.ninep') && names.includes('user.other'), `the names are ${names.join(' ')}`);
      },
      { source: 'listxattr(2)' },
    ],
    'xattr.list-size': [
      'The size of the list is that of what can be read',
      async (t) => {
        const { fid, size } = await (await marked(t)).xattrwalk('');
        same((await fid.read(0, 8192)).length, size, 'the bytes read');
      },
    ],
    'xattr.list-empty': [
      'A file without attributes lists none of the user’s',
      async (t) => {
        const file = await t.file();
        await file.setxattr('user.ninep', 'x');
        await file.setxattr('user.ninep', '');
        same(
          (await file.listxattr()).filter((name) => name.startsWith('user.')),
          [],
          'the names',
        );
      },
    ],
    'xattr.remove': [
      'A size of 0 removes the attribute',
      async (t) => {
        const file = await marked(t);
        await file.setxattr('user.ninep', '');
        await refused(file.getxattr('user.ninep'), 'ENODATA');
      },
      { source: 'Linux v9fs removes so' },
    ],
    'xattr.remove-missing': [
      'What is not there cannot be removed: ENODATA',
      async (t) => refused((await marked(t)).setxattr('user.other', ''), 'ENODATA'),
      { source: 'removexattr(2)' },
    ],
    'xattr.short': [
      'Less than was announced is an error at the clunk, and nothing is set',
      async (t) => {
        const file = await marked(t);
        const fid = await file.clone();
        await fid.xattrcreate('user.ninep', 10);
        await fid.write(0, 'abc');
        await refused(fid.clunk());
        same(await file.getxattr('user.ninep'), Buffer.from('value'), 'the value');
      },
    ],
    'xattr.short-clunks': [
      'A clunk that fails ends the fid all the same',
      async (t) => {
        const file = await marked(t);
        const fid = await file.clone();
        await fid.xattrcreate('user.ninep', 10);
        await fid.write(0, 'abc');
        await refused(fid.clunk());
        await t.request('Twalk', { fid: file.number, newfid: fid.number, wnames: [] });
        await fid.clunk();
      },
      { source: 'clunk(5): even if it fails the fid is no longer valid' },
    ],
    'xattr.over': [
      'More than was announced is not taken',
      async (t) => {
        const fid = await (await marked(t)).clone();
        await fid.xattrcreate('user.ninep', 3);
        const written = await unlessRefused(fid.write(0, 'abcdef'));
        that(written === undefined || written <= 3, `${written} of 3 bytes were taken`);
        await unlessRefused(fid.clunk());
      },
    ],
    'xattr.too-large': [
      'A value of more than 64 KiB is refused: E2BIG',
      async (t) => {
        const file = await marked(t);
        await refused(file.setxattr('user.big', pattern(65537)), 'E2BIG', 'ENOSPC', 'ERANGE');
      },
      { source: 'setxattr(2): XATTR_SIZE_MAX' },
    ],
    'xattr.huge-claim': [
      'An announced size of 2^40 bytes is refused and costs no memory',
      async (t) => {
        const fid = await (await marked(t)).clone();
        await refused(fid.xattrcreate('user.big', 2 ** 40), 'E2BIG', 'ENOSPC', 'ERANGE', 'EINVAL', 'ENOMEM', 'EFBIG');
        await t.alive();
      },
      { source: 'setxattr(2): XATTR_SIZE_MAX' },
    ],
    'xattr.directory': [
      'A directory has attributes too',
      async (t) => {
        const dir = await t.dir();
        await dir.setxattr('user.ninep', 'of a directory');
        same(await dir.getxattr('user.ninep'), Buffer.from('of a directory'), 'the value');
      },
    ],
    'xattr.several': [
      'Several attributes do not disturb each other',
      async (t) => {
        const file = await marked(t);
        await file.setxattr('user.two', 'second');
        await file.setxattr('user.ninep', '');
        same(await file.getxattr('user.two'), Buffer.from('second'), 'the value');
      },
    ],
    'xattr.fid-kept': [
      'Txattrwalk leaves its fid as it was',
      async (t) => {
        const file = await marked(t);
        await file.xattrwalk('user.ninep');
        same(await file.content(), Buffer.from('content'), 'the content');
      },
    ],
    'xattr.newfid-in-use': [
      'A newfid that is in use is refused',
      async (t) => {
        const file = await marked(t);
        const other = await t.root();
        await refused(file.request('Txattrwalk', { newfid: other.number, name: 'user.ninep' }));
      },
    ],
    'xattr.read-only': [
      'What Txattrwalk gives cannot be written',
      async (t) => {
        const { fid } = await (await marked(t)).xattrwalk('user.ninep');
        await refused(fid.write(0, 'x'));
      },
    ],
    'xattr.unknown-fid': [
      'A fid that is not there has no attributes',
      async (t) => {
        await marked(t);
        await refused(t.request('Txattrwalk', { fid: STRANGER, newfid: t.newFid(), name: 'user.ninep' }));
      },
    ],
    'xattr.no-namespace': [
      'A name without a namespace is refused',
      async (t) => refused((await marked(t)).setxattr('ninep', 'x'), 'EOPNOTSUPP', 'EINVAL', 'EPERM'),
      { source: 'xattr(7)' },
    ],
    'xattr.open-file': [
      'The attributes of an open file can be read',
      async (t) => {
        const file = await (await marked(t)).open();
        same(await file.getxattr('user.ninep'), Buffer.from('value'), 'the value');
      },
      { source: 'Linux v9fs asks through open fids' },
    ],
  },
);

/** version 2, then 8 bytes for each entry: tag, permissions, id (acl(5); linux/posix_acl_xattr.h). */
function acl(...entries: readonly (readonly [tag: number, perm: number, id?: number])[]): Buffer {
  const bytes = Buffer.alloc(4 + 8 * entries.length);
  bytes.writeUInt32LE(2, 0);
  entries.forEach(([tag, perm, id = 0xffffffff], index) => {
    bytes.writeUInt16LE(tag, 4 + 8 * index);
    bytes.writeUInt16LE(perm, 6 + 8 * index);
    bytes.writeUInt32LE(id, 8 + 8 * index);
  });
  return bytes;
}

const USER_OBJ = 1;
const USER = 2;
const GROUP_OBJ = 4;
const MASK = 16;
const OTHER = 32;
const ACCESS = 'system.posix_acl_access';
const DEFAULT = 'system.posix_acl_default';
/** rw- for the owner, r-- for user 1234 and the group, mask r--, nothing for others. */
const extended = acl([USER_OBJ, 6], [USER, 4, 1234], [GROUP_OBJ, 4], [MASK, 4], [OTHER, 0]);
/** The same for directories, whose owner must be able to search what has inherited it, or cannot even remove it. */
const inheritable = acl([USER_OBJ, 7], [USER, 5, 1234], [GROUP_OBJ, 5], [MASK, 5], [OTHER, 0]);

/** Servers without ACLs say so in several ways. */
function setAcl(on: Handle, name: string, value: Uint8Array): Promise<void> {
  return unless(['EOPNOTSUPP', 'ENODATA', 'EPERM'], 'no ACLs', on.setxattr(name, value));
}

export const acls: Check[] = checks(
  'ACL',
  { source: 'acl(5); Linux v9fs reads and writes ACLs as attributes' },
  {
    'acl.access': [
      'An access ACL that was set can be read',
      async (t) => {
        const file = await t.file();
        await setAcl(file, ACCESS, extended);
        same(await file.getxattr(ACCESS), extended, 'the ACL');
      },
    ],
    'acl.mode': [
      'An access ACL brings the permission bits along',
      async (t) => {
        const file = await t.file();
        await file.setattr({ mode: 0o666 });
        await setAcl(file, ACCESS, extended);
        same(octal((await file.getattr()).mode & 0o777), octal(0o640), 'the mode');
      },
    ],
    'acl.chmod': [
      'A change of the permission bits changes the mask of the ACL',
      async (t) => {
        const file = await t.file();
        await setAcl(file, ACCESS, extended);
        await file.setattr({ mode: 0o660 });
        const value = await file.getxattr(ACCESS);
        that(value.length >= 4 + 8 * 4, `the ACL has ${value.length} bytes`);
        same(value.readUInt16LE(6 + 8 * 3), 6, 'the mask');
      },
    ],
    'acl.default': [
      'A default ACL of a directory can be set and read',
      async (t) => {
        const dir = await t.dir();
        await setAcl(dir, DEFAULT, inheritable);
        same(await dir.getxattr(DEFAULT), inheritable, 'the ACL');
      },
    ],
    'acl.inherited': [
      'A new directory has the default ACL of the one above',
      async (t) => {
        const dir = await t.dir();
        await setAcl(dir, DEFAULT, inheritable);
        await dir.mkdir('d', 0o777);
        same(await (await dir.walk('d')).getxattr(DEFAULT), inheritable, 'the ACL');
      },
    ],
    'acl.inherited-access': [
      'A new file has its access ACL from the default ACL of its directory',
      async (t) => {
        const dir = await t.dir();
        await setAcl(dir, DEFAULT, inheritable);
        await dir.make('f');
        const value = await (await dir.walk('f')).getxattr(ACCESS);
        that(value.length >= 4 + 8 * 2, `the ACL has ${value.length} bytes`);
        same(value.readUInt32LE(4 + 8 + 4), 1234, 'the user of its second entry');
      },
    ],
    'acl.default-file': [
      'A file has no default ACL',
      async (t) => {
        await setAcl(await t.dir(), DEFAULT, inheritable);
        await refused((await t.file()).setxattr(DEFAULT, inheritable), 'EACCES', 'EINVAL', 'EPERM', 'EOPNOTSUPP');
      },
    ],
    'acl.malformed': [
      'What is no ACL is refused',
      async (t) => {
        const file = await t.file();
        await setAcl(file, ACCESS, extended);
        await refused(file.setxattr(ACCESS, 'nonsense'), 'EINVAL', 'EOPNOTSUPP');
        same(await file.getxattr(ACCESS), extended, 'the ACL');
      },
    ],
    'acl.remove': [
      'An ACL can be removed',
      async (t) => {
        const dir = await t.dir();
        await setAcl(dir, DEFAULT, inheritable);
        await dir.setxattr(DEFAULT, '');
        await refused(dir.getxattr(DEFAULT), 'ENODATA');
      },
    ],
  },
);

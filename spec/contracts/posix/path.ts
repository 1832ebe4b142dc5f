/**
 * What every call that takes a path owes to path resolution (POSIX XBD 4.16; path_resolution(7)): the same assertions for each of them.
 */
import path from 'node:path';
import type { FileType } from '../../support/status.js';
import type { Syscalls, User } from '../../support/syscalls.js';
import { type Group, group, type Need, notDirectories, ordinary, type Test } from './test.js';

export interface PathCall {
  readonly name: string;
  /** What must be at the path; undefined when the call makes it. */
  readonly subject: FileType | undefined;
  /** The call changes the directory that holds the name. */
  readonly changesParent: boolean;
  /** The call changes the file system at all. */
  readonly writes: boolean;
  /** A symbolic link as the last component is followed. */
  readonly follows: boolean;
  /** Calls with a path. `room` is a directory in which the call may make further names with `another`. */
  call(sys: Syscalls, at: string | Buffer | bigint, another: string, user: User): number;
  /** The result is a descriptor. */
  readonly opens?: boolean;
  /** A directory may be named with a trailing slash although it does not exist yet (mkdir). */
  readonly slashMakes?: boolean;
  /** What the call is about cannot be made everywhere. */
  readonly needs?: readonly Need[];
  /** The subject need not be there (the name that rename replaces). */
  readonly mayMiss?: boolean;
}

export function pathGroups(call: PathCall): Group[] {
  const groups = [
    resolution(call),
    lengths(call),
    searching(call),
    ...(call.changesParent ? [writing(call)] : []),
    ...(call.writes ? [readOnly(call)] : []),
  ];
  return groups.map((each) => ({ ...each, needs: [...each.needs, ...(call.needs ?? [])] }));
}

/** Who runs the suite. */
const WHOEVER: User = { name: 'whoever', uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0, groups: [] };

/** Runs one call on `at`, closing a descriptor it gives. */
function attempt(
  t: Test,
  call: PathCall,
  what: string,
  at: string | Buffer | bigint,
  want: string | readonly string[],
  user?: User,
  room?: string,
): void {
  const another = path.join(room ?? t.dir(0o777), `another${t.fresh('x').split('/').pop() ?? ''}`);
  const run = (): number => call.call(t.sys, at, another, user ?? WHOEVER);
  const result = user === undefined ? run() : t.as(user, run);
  if (call.opens === true) t.opens(what, result, want);
  else t.gives(what, result, want);
}

/** The subject at `directory/name`, where the call wants one. Alice owns it: calls that only owners may make work for her. */
function subject(t: Test, call: PathCall, directory: string, name = 'leaf'): string {
  const at = path.join(directory, name);
  if (call.subject !== undefined) t.make(call.subject, at, { owner: t.alice, mode: call.subject === 'directory' ? 0o777 : 0o666 });
  return at;
}

function resolution(call: PathCall): Group {
  return ordinary(`${call.name}: path resolution`, (t) => {
    attempt(t, call, 'ENOENT when a component of the prefix does not exist', path.join(t.base, 'missing', 'leaf'), 'ENOENT');
    attempt(t, call, 'ENOENT for the empty path', '', 'ENOENT');
    if (call.subject !== undefined && call.mayMiss !== true)
      attempt(t, call, 'ENOENT when the last component does not exist', path.join(t.base, 'missing'), 'ENOENT');
    const dangling = t.make('symlink', t.fresh(), { content: 'nowhere' });
    attempt(t, call, 'ENOENT when the prefix is a symbolic link to nothing', path.join(dangling, 'leaf'), 'ENOENT');
    if (call.follows && call.subject !== undefined)
      attempt(t, call, 'ENOENT when the last component is a symbolic link to nothing', dangling, 'ENOENT');
    for (const type of notDirectories) {
      if (type === 'symlink') continue;
      attempt(t, call, `ENOTDIR when a component of the prefix is a ${type}`, path.join(t.make(type, t.fresh()), 'leaf'), 'ENOTDIR');
    }
    const toFile = t.make('symlink', t.fresh(), { content: t.file() });
    attempt(t, call, 'ENOTDIR when a component of the prefix is a symbolic link to a regular file', path.join(toFile, 'leaf'), 'ENOTDIR');
    attempt(t, call, 'ENOTDIR for ".." of a regular file', `${t.file()}/../leaf`, 'ENOTDIR');
    attempt(t, call, 'ENOENT for ".." of what does not exist', `${t.base}/missing/../leaf`, 'ENOENT');
    if (call.subject !== undefined && call.subject !== 'directory') {
      const want = call.subject === 'symlink' ? ['ENOTDIR', 'ENOENT', 'EINVAL'] : 'ENOTDIR';
      attempt(t, call, `ENOTDIR when a ${call.subject} is named with a trailing slash`, `${subject(t, call, t.dir())}/`, want);
    }
    if (call.subject === 'directory' || call.slashMakes === true)
      attempt(t, call, 'a directory named with a trailing slash', `${subject(t, call, t.dir(0o777))}/`, 'ok');

    const loop = t.make('symlink', t.fresh(), { content: 'loop' });
    t.must('loop', t.real.symlink('loop', path.join(t.base, 'loop')));
    t.must('loop', t.real.symlink('two', path.join(t.base, 'one')));
    t.must('loop', t.real.symlink('one', path.join(t.base, 'two')));
    attempt(t, call, 'ELOOP when the prefix is a link to itself', path.join(t.base, 'loop', 'leaf'), 'ELOOP');
    attempt(t, call, 'ELOOP when the prefix leads to a link to itself', path.join(loop, 'leaf'), 'ELOOP');
    attempt(t, call, 'ELOOP when two links in the prefix lead to each other', path.join(t.base, 'one', 'leaf'), 'ELOOP');
    if (call.follows) {
      attempt(t, call, 'ELOOP when the last component is a link to itself', path.join(t.base, 'loop'), 'ELOOP');
      attempt(t, call, 'ELOOP when the last component and another lead to each other', path.join(t.base, 'two'), 'ELOOP');
    }
    // Linux resolves forty links in one path.
    const end = t.dir(0o777);
    let link = end;
    for (let links = 1; links <= 41; links++) {
      link = t.make('symlink', path.join(t.base, `chain${links}`), { content: link });
      if (links === 40)
        attempt(
          t,
          call,
          'forty symbolic links in the prefix are followed',
          path.join(link, subject(t, call, end).split('/').pop() ?? ''),
          'ok',
        );
      if (links === 41) attempt(t, call, 'ELOOP for forty-one symbolic links in the prefix', path.join(link, 'other'), 'ELOOP');
    }

    attempt(t, call, 'EFAULT for an address outside the process', 1n, 'EFAULT');

    const room = t.dir(0o777);
    const through = t.make('symlink', t.fresh(), { content: room });
    attempt(
      t,
      call,
      'a prefix that is a symbolic link to a directory is followed',
      `${through}/${path.basename(subject(t, call, room, 'a'))}`,
      'ok',
    );
    const relative = t.make('symlink', t.fresh(), { content: path.basename(room) });
    attempt(
      t,
      call,
      'a prefix that is a relative symbolic link is resolved from its own directory',
      `${relative}/${path.basename(subject(t, call, room, 'b'))}`,
      'ok',
    );
    attempt(t, call, 'repeated slashes count as one', `${room}///${path.basename(subject(t, call, room, 'c'))}`, 'ok');
    attempt(t, call, '"." names the directory itself', `${room}/./././${path.basename(subject(t, call, room, 'd'))}`, 'ok');
    attempt(t, call, '".." names the parent', `${room}/../${path.basename(room)}/${path.basename(subject(t, call, room, 'e'))}`, 'ok');
  });
}

/** A path to `name` in `directory`, exactly `length` bytes long. */
export function pathOf(directory: string, name: string, length: number): string {
  const room = length - directory.length - name.length - 1;
  return `${directory}${'/.'.repeat(Math.floor(room / 2))}${room % 2 === 1 ? '/' : ''}/${name}`;
}

function lengths(call: PathCall): Group {
  return ordinary(`${call.name}: lengths of names and paths`, (t) => {
    const room = t.dir(0o777);
    attempt(t, call, 'a name of 255 bytes', subject(t, call, room, 'n'.repeat(255)), 'ok');
    attempt(t, call, 'a name of 255 bytes of UTF-8', subject(t, call, room, `${'ü'.repeat(127)}u`), 'ok');
    attempt(t, call, 'ENAMETOOLONG for a name of 256 bytes', path.join(room, 'n'.repeat(256)), 'ENAMETOOLONG');
    attempt(t, call, 'ENAMETOOLONG for 128 characters that are 256 bytes', path.join(room, 'ü'.repeat(128)), 'ENAMETOOLONG');
    attempt(t, call, 'ENAMETOOLONG for a name of 4000 bytes', path.join(room, 'n'.repeat(3900)), 'ENAMETOOLONG');
    attempt(t, call, 'ENAMETOOLONG when a component of the prefix has 256 bytes', path.join(room, 'n'.repeat(256), 'leaf'), 'ENAMETOOLONG');
    const long = t.make('directory', path.join(room, 'p'.repeat(255)), { mode: 0o777 });
    attempt(t, call, 'a component of the prefix of 255 bytes', subject(t, call, long), 'ok');
    subject(t, call, room, 'near');
    attempt(t, call, 'a path of 4095 bytes', pathOf(room, 'near', 4095), 'ok');
    attempt(t, call, 'ENAMETOOLONG for a path of 4096 bytes', pathOf(room, 'far', 4096), 'ENAMETOOLONG');
    attempt(t, call, 'ENAMETOOLONG for a path of 5000 bytes', pathOf(room, 'far', 5000), 'ENAMETOOLONG');
    for (const name of [
      ' ',
      'with space',
      'new\nline',
      'back\\slash',
      '"quote\'',
      '-dash',
      '.hidden',
      '...',
      '日本語',
      'é',
      'e\u0301',
      '🜁',
      '%2f',
      '*?[',
      '\u007f',
      'ß',
      'A',
      'a',
    ]) {
      attempt(t, call, `the name ${JSON.stringify(name)}`, subject(t, call, t.dir(0o777), name), 'ok');
    }
  });
}

function searching(call: PathCall): Group {
  return group(`${call.name}: search permission on the prefix`, (t) => {
    const cases: [what: string, mode: number, uid: number, gid: number, want: string][] = [
      ['owner with search', 0o100, t.alice.uid, 0, 'ok'],
      ['owner without search, although group and others have it', 0o077, t.alice.uid, t.alice.gid, 'EACCES'],
      ['owner with read and write only', 0o600, t.alice.uid, 0, 'EACCES'],
      ['group with search', 0o010, 0, t.alice.gid, 'ok'],
      ['group without search, although others have it', 0o707, 0, t.alice.gid, 'EACCES'],
      ['supplementary group with search', 0o010, 0, t.shared, 'ok'],
      ['supplementary group without search, although others have it', 0o767, 0, t.shared, 'EACCES'],
      ['others with search', 0o001, 0, 0, 'ok'],
      ['others without search', 0o776, 0, 0, 'EACCES'],
      ['nobody with any permission', 0o000, t.alice.uid, t.alice.gid, 'EACCES'],
    ];
    for (const [what, mode, uid, gid, want] of cases) {
      const gate = t.dir(mode, { uid, gid });
      const room = t.make('directory', path.join(gate, 'room'), { mode: 0o777 });
      const leaf = subject(t, call, room);
      attempt(t, call, `${what}: ${want}`, leaf, want, t.alice, room);
      t.must('open the gate', t.real.chmod(gate, 0o755));
    }
    const closed = t.dir(0o000, { owner: t.alice });
    const room = t.make('directory', path.join(closed, 'room'), { mode: 0o000 });
    attempt(t, call, 'root passes without any permission', subject(t, call, room), 'ok');
    const far = t.dir(0o711);
    const gate = t.make('directory', path.join(far, 'gate'), { mode: 0o700 });
    const deep = t.make('directory', path.join(gate, 'deep'), { mode: 0o777 });
    attempt(t, call, 'EACCES by a component in the middle', subject(t, call, deep), 'EACCES', t.alice);
    const link = t.make('symlink', t.fresh(), { content: deep });
    attempt(t, call, 'EACCES by a component of the target of a symbolic link', path.join(link, 'leaf'), 'EACCES', t.alice);
  });
}

function writing(call: PathCall): Group {
  return group(`${call.name}: write permission on the directory`, (t) => {
    const cases: [what: string, mode: number, uid: number, gid: number, want: string][] = [
      ['owner with write and search', 0o300, t.alice.uid, 0, 'ok'],
      ['owner without write, although group and others have it', 0o577, t.alice.uid, t.alice.gid, 'EACCES'],
      ['owner without search', 0o600, t.alice.uid, 0, 'EACCES'],
      ['group with write and search', 0o030, 0, t.alice.gid, 'ok'],
      ['group without write, although others have it', 0o757, 0, t.alice.gid, 'EACCES'],
      ['supplementary group with write and search', 0o030, 0, t.shared, 'ok'],
      ['supplementary group without write, although others have it', 0o757, 0, t.shared, 'EACCES'],
      ['others with write and search', 0o003, 0, 0, 'ok'],
      ['others with write but no search', 0o002, 0, 0, 'EACCES'],
      ['others with search but no write', 0o775, 0, 0, 'EACCES'],
      ['nobody with any permission', 0o000, t.alice.uid, t.alice.gid, 'EACCES'],
    ];
    for (const [what, mode, uid, gid, want] of cases) {
      const room = t.dir(0o755, { uid, gid });
      const leaf = subject(t, call, room);
      t.must('chmod', t.real.chmod(room, mode));
      attempt(t, call, `${what}: ${want}`, leaf, want, t.alice);
      if (want !== 'ok') t.equal(`${what}: nothing has changed`, t.lstatOutcome(leaf), call.subject === undefined ? 'ENOENT' : 'ok');
    }
    const closed = t.dir(0o000, { owner: t.alice });
    attempt(t, call, 'root needs no permission', subject(t, call, closed), 'ok');
  });
}

function readOnly(call: PathCall): Group {
  return group(
    `${call.name}: read-only file system`,
    (t) => {
      const view = t.around.readOnly;
      if (view === undefined) return;
      const room = t.dir(0o777);
      const seen = path.join(view, path.basename(t.base), path.basename(room));
      const leaf = subject(t, call, room);
      attempt(t, call, 'EROFS', path.join(seen, 'leaf'), 'EROFS', undefined, seen);
      attempt(t, call, 'EROFS for an ordinary user', path.join(seen, 'leaf'), 'EROFS', t.alice, seen);
      t.equal('nothing has changed', t.lstatOutcome(leaf), call.subject === undefined ? 'ENOENT' : 'ok');
    },
    ['root', 'read-only view'],
  );
}

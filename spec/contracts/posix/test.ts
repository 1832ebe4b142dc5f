/**
 * What an assertion of the suite is made with. A group is a function over a {@link Test}; it runs in a child process, alone in a directory of its own, as root
 * (or as whoever runs the suite, for the groups that need no more). Every assertion has a name of its own inside its group, because known deviations are listed by name.
 */
import fs from 'node:fs';
import path from 'node:path';
import { AT, type FileType, fstat, lstat, makedev, O, outcome, S, type Status, stat, timespecs, UTIME } from '../../support/status.js';
import { become, type Path, ROOT, type Syscalls, type User } from '../../support/syscalls.js';

export interface Result {
  readonly group: string;
  readonly what: string;
  readonly ok: boolean;
  readonly got?: string;
  readonly want?: string;
}

/** What a group cannot do without. */
export type Need = 'root' | 'read-only view' | 'other file system' | 'program' | 'special files' | 'locks';

export interface Group {
  readonly name: string;
  readonly needs: readonly Need[];
  run(t: Test): void | Promise<void>;
}

/** Groups are run as root unless they name other needs. */
export function group(name: string, run: Group['run'], needs: readonly Need[] = ['root']): Group {
  return { name, needs, run };
}

/** A group that anybody may run. */
export const ordinary = (name: string, run: Group['run']): Group => group(name, run, []);

/** The three who act. They share one supplementary group, and have one each. */
export interface Users {
  readonly alice: User;
  readonly bob: User;
  /** The gid both have as a supplementary group. */
  readonly shared: number;
}

export const defaultUsers: Users = {
  alice: { name: 'alice', uid: 61001, gid: 61001, groups: [61001, 61101, 61100] },
  bob: { name: 'bob', uid: 61002, gid: 61002, groups: [61002, 61102, 61100] },
  shared: 61100,
};

export interface Surroundings {
  readonly users: Users;
  /** The same tree as the directory under test, mounted read-only: the path of the directory under test in it. */
  readonly readOnly: string | undefined;
  /** A directory on any other file system. */
  readonly elsewhere: string | undefined;
}

/** The ground under a group is missing: what it builds on did not work, so nothing can be said. */
export class Broken extends Error {}

export const everyType: FileType[] = ['regular', 'directory', 'fifo', 'socket', 'char', 'block', 'symlink'];
export const notDirectories: FileType[] = everyType.filter((type) => type !== 'directory');
/** What a path through a symbolic link does not lead to. */
export const notLinks: FileType[] = everyType.filter((type) => type !== 'symlink');

export const specialTypes: readonly FileType[] = ['fifo', 'socket', 'char', 'block'];
export const deviceTypes: readonly FileType[] = ['char', 'block'];

/** For file systems that cannot make special files, and users who may not make devices: the lists above go without them from here on. */
export function leaveOut(types: readonly FileType[]): void {
  for (const list of [everyType, notDirectories, notLinks]) list.splice(0, list.length, ...list.filter((type) => !types.includes(type)));
}

export interface MakeOptions {
  readonly mode?: number;
  readonly owner?: User;
  readonly uid?: number;
  readonly gid?: number;
  /** Content of a regular file, target of a symbolic link. */
  readonly content?: string;
}

export class Test {
  /** The calls under test. */
  readonly sys: Syscalls;
  /** The calls that prepare and look: never replaced. */
  readonly real: Syscalls;
  readonly base: string;
  readonly around: Surroundings;
  readonly #group: string;
  readonly #report: (result: Result) => void;
  readonly #seen = new Set<string>();
  readonly #fds = new Set<number>();
  #count = 0;
  #user: User = ROOT;
  readonly #self = process.geteuid?.() === 0 ? undefined : process.geteuid?.();
  #prefix = '';

  constructor(group: string, base: string, sys: Syscalls, real: Syscalls, around: Surroundings, report: (result: Result) => void) {
    this.#group = group;
    this.base = base;
    this.sys = sys;
    this.real = real;
    this.around = around;
    this.#report = report;
  }

  get alice(): User {
    return this.around.users.alice;
  }

  get bob(): User {
    return this.around.users.bob;
  }

  get shared(): number {
    return this.around.users.shared;
  }

  /** Whether the file system has FIFOs, sockets and devices. */
  get special(): boolean {
    return everyType.includes('fifo');
  }

  /** Names of assertions made in `run` begin with `prefix`. */
  under(prefix: string, run: () => void): void {
    const before = this.#prefix;
    this.#prefix = `${before}${prefix}: `;
    try {
      run();
    } finally {
      this.#prefix = before;
    }
  }

  #judge(what: string, ok: boolean, got: string, want: string): void {
    const name = this.#prefix + what;
    if (this.#seen.has(name))
      this.#report({ group: this.#group, what: `${name} (named twice)`, ok: false, got: 'a name used before', want: 'a name of its own' });
    this.#seen.add(name);
    this.#report(ok ? { group: this.#group, what: name, ok } : { group: this.#group, what: name, ok, got, want });
  }

  /** A call's result: "ok" or the errno's name; an array where the standard leaves a choice. */
  gives(what: string, result: number, want: string | readonly string[]): void {
    const got = outcome(result);
    const wanted = typeof want === 'string' ? [want] : want;
    this.#judge(what, wanted.includes(got), got, wanted.join(' or '));
  }

  /** The same for a call whose result is a descriptor, which is closed. */
  opens(what: string, fd: number, want: string | readonly string[]): void {
    this.gives(what, fd, want);
    if (fd >= 0) this.real.close(fd);
  }

  equal<T extends string | number | bigint | boolean>(what: string, got: T, want: T): void {
    this.#judge(what, got === want, String(got), String(want));
  }

  mode(what: string, got: number, want: number): void {
    this.#judge(what, got === want, `0${got.toString(8)}`, `0${want.toString(8)}`);
  }

  bytes(what: string, got: Uint8Array, want: Uint8Array): void {
    const same = Buffer.compare(got, want) === 0;
    this.#judge(
      what,
      same,
      `${got.length} bytes ${Buffer.from(got).toString('latin1').slice(0, 40)}`,
      `${want.length} bytes ${Buffer.from(want).toString('latin1').slice(0, 40)}`,
    );
  }

  true(what: string, holds: boolean, got = 'false'): void {
    this.#judge(what, holds, got, 'true');
  }

  /** A time stamp moved on. */
  later(what: string, got: bigint, before: bigint): void {
    this.#judge(what, got > before, `${got}`, `more than ${before}`);
  }

  /** Runs as `user`, real and effective, with the supplementary groups; then as before. */
  as<T>(user: User, run: () => T): T {
    // Who is not root can only be who he is.
    if (user.uid === this.#self) return run();
    const before = this.#user;
    become(user);
    this.#user = user;
    try {
      return run();
    } finally {
      become(before);
      this.#user = before;
    }
  }

  /** A path in the group's directory that nothing has yet. */
  fresh(stem = 'n'): string {
    this.#count++;
    return path.join(this.base, `${stem}${this.#count}`);
  }

  must(what: string, result: number): number {
    if (result < 0) throw new Broken(`${what}: ${outcome(result)}`);
    return result;
  }

  /** A new directory. */
  dir(mode = 0o755, options: MakeOptions = {}): string {
    return this.make('directory', this.fresh('d'), { ...options, mode });
  }

  /** A new regular file. */
  file(options: MakeOptions = {}): string {
    return this.make('regular', this.fresh('f'), options);
  }

  /** Makes a file of `type` at `at`, its mode (default 0644, a directory's 0755) and owner exactly as said. */
  make(type: FileType, at: string, options: MakeOptions = {}): string {
    // What is prepared is prepared by root, also in the middle of what a user does.
    return this.#user === ROOT ? this.#make(type, at, options) : this.as(ROOT, () => this.#make(type, at, options));
  }

  #make(type: FileType, at: string, options: MakeOptions): string {
    const { real } = this;
    const mode = options.mode ?? (type === 'directory' ? 0o755 : 0o644);
    if (type === 'regular') {
      const fd = this.must(`create ${at}`, real.open(at, O.CREAT | O.EXCL | O.WRONLY, 0o600));
      if (options.content !== undefined) {
        const content = Buffer.from(options.content);
        if (real.write(fd, content, content.length) !== content.length) throw new Broken(`write ${at}`);
      }
      real.close(fd);
    } else if (type === 'directory') this.must(`mkdir ${at}`, real.mkdir(at, 0o700));
    else if (type === 'symlink') this.must(`symlink ${at}`, real.symlink(options.content ?? 'target', at));
    else {
      const kind = { fifo: S.IFIFO, socket: S.IFSOCK, char: S.IFCHR, block: S.IFBLK }[type];
      this.must(`mknod ${type} ${at}`, real.mknod(at, kind | 0o600, type === 'char' || type === 'block' ? makedev(1, 3) : 0));
    }
    const uid = options.uid ?? options.owner?.uid;
    const gid = options.gid ?? options.owner?.gid;
    if (uid !== undefined || gid !== undefined) this.must(`lchown ${at}`, real.lchown(at, uid ?? 0xffffffff, gid ?? 0xffffffff));
    if (type !== 'symlink') this.must(`chmod ${at}`, real.chmod(at, mode));
    return at;
  }

  /** A descriptor that is closed when the group ends. */
  open(at: Path, flags: number, mode = 0o644): number {
    const fd = this.must(`open ${typeof at === 'string' ? at : 'it'}`, this.real.open(at, flags, mode));
    this.#fds.add(fd);
    return fd;
  }

  close(fd: number): void {
    this.#fds.delete(fd);
    this.real.close(fd);
  }

  #status(what: string, status: Status | number): Status {
    if (typeof status === 'number') throw new Broken(`${what}: ${outcome(status)}`);
    return status;
  }

  /** lstat that must work. */
  stat(at: Path): Status {
    return this.#status(`lstat ${String(at)}`, lstat(this.real, at));
  }

  /** stat (through a symbolic link) that must work. */
  follow(at: Path): Status {
    return this.#status(`stat ${String(at)}`, stat(this.real, at));
  }

  fstat(fd: number): Status {
    return this.#status(`fstat ${fd}`, fstat(this.real, fd));
  }

  /** "ok" or the errno's name. */
  lstatOutcome(at: Path): string {
    const status = lstat(this.real, at);
    return typeof status === 'number' ? outcome(status) : 'ok';
  }

  gone(what: string, at: Path): void {
    this.equal(what, this.lstatOutcome(at), 'ENOENT');
  }

  there(what: string, at: Path): void {
    this.equal(what, this.lstatOutcome(at), 'ok');
  }

  read(at: string): Buffer {
    return fs.readFileSync(at);
  }

  content(what: string, at: string, want: string): void {
    let got: Buffer;
    try {
      got = this.read(at);
    } catch (error) {
      this.#judge(what, false, error instanceof Error ? error.message : String(error), want.slice(0, 40));
      return;
    }
    this.bytes(what, got, Buffer.from(want));
  }

  /**
   * Returns once the file system's own clock is past everything stamped so far: a stamp given by the next call differs from all before. Watches the clock
   * by touching a probe, since its grain differs from one file system to the other and may be far coarser than a call.
   */
  tick(): void {
    const probe = path.join(this.base, '.clock');
    const touch = (): bigint => {
      const fd = this.must('clock', this.real.open(probe, O.CREAT | O.WRONLY, 0o600));
      this.must('clock', this.real.futimens(fd, timespecs([0, UTIME.NOW], [0, UTIME.NOW])));
      const now = this.fstat(fd).ctime;
      this.real.close(fd);
      return now;
    };
    const before = touch();
    // Two steps: the first may be the end of a grain that began before the last stamp.
    for (let steps = 0, last = before; steps < 2; ) {
      const now = touch();
      if (now > last) {
        steps++;
        last = now;
      }
    }
  }

  /** Which of atime, mtime, ctime changed over `run`, of each of the named files. */
  stamps(files: Readonly<Record<string, string>>, run: () => void, want: Readonly<Record<string, string>>): void {
    const before = new Map(Object.entries(files).map(([name, at]) => [name, this.stat(at)]));
    this.tick();
    run();
    for (const [name, changes] of Object.entries(want)) {
      const at = files[name];
      const old = before.get(name);
      if (at === undefined || old === undefined) throw new Broken(`no file ${name}`);
      const now = this.stat(at);
      for (const stamp of ['mtime', 'ctime'] as const) {
        if (changes.includes(`!${stamp}`)) this.equal(`${stamp} of ${name} stays`, now[stamp], old[stamp]);
        else if (changes.includes(stamp)) this.later(`${stamp} of ${name} is marked for update`, now[stamp], old[stamp]);
      }
    }
  }

  /** Puts away descriptors that the group left open. */
  end(): void {
    for (const fd of this.#fds) this.real.close(fd);
    this.#fds.clear();
  }
}

export { AT, fstat, lstat, makedev, O, outcome, S, stat, timespecs, UTIME };

/** One process of the metadata workload: its own tree, where a model knows every answer beforehand. */
import fs from 'node:fs';
import path from 'node:path';
import { Random } from '../random.js';
import { lstat, O, outcome, RENAME } from '../status.js';
import { loadSyscalls, type Syscalls } from '../syscalls.js';
import { describe, type MetadataOptions, type WorkerReport } from './metadata.js';
import { expect, SHARED, Shared } from './metadata-shared.js';

/** One name of the worker's own tree. */
interface Node {
  readonly type: 'regular' | 'directory' | 'symlink' | 'fifo';
  /** Which file: names of one file have one number. */
  readonly file: number;
  readonly target: string;
}

/** What one process of {@link metadata} does. */
export function metadataWorker(directory: string, options: MetadataOptions & { readonly index: number }): WorkerReport {
  return new Worker(directory, options).run();
}

class Worker {
  readonly #sys: Syscalls = loadSyscalls();
  readonly #random: Random;
  readonly #root: string;
  readonly #shared: Shared;
  readonly #options: MetadataOptions;
  readonly #names = new Map<string, Node>();
  readonly #modes = new Map<number, number>();
  #files = 0;

  constructor(directory: string, options: MetadataOptions & { readonly index: number }) {
    this.#random = new Random(options.seed);
    this.#options = options;
    this.#root = path.join(directory, `own${options.index}`);
    this.#shared = new Shared(path.join(directory, SHARED), options.index, this.#random, this.#sys);
  }

  run(): WorkerReport {
    this.#sys.umask(0);
    expect('mkdir of the own tree', this.#sys.mkdir(this.#root, 0o755), 'ok');
    this.#shared.begin();
    const end = this.#options.seconds === undefined ? Number.POSITIVE_INFINITY : Date.now() + this.#options.seconds * 1000;
    const most = this.#options.operations ?? Number.POSITIVE_INFINITY;
    if (most === Number.POSITIVE_INFINITY && end === most) throw new RangeError('neither operations nor seconds');
    let count = 0;
    for (; count < most && Date.now() < end; count++) {
      if (this.#random.oneIn(3)) this.#shared.step();
      else this.#alone();
    }
    return { operations: count, journal: [...this.#names].map(([name, node]) => this.#line(name, node)) };
  }

  #line(name: string, { type, file, target }: Node): string {
    const links = [...this.#names.values()].filter((node) => node.file === file).length;
    return `${name} ${type} ${(this.#modes.get(file) ?? 0).toString(8)} ${type === 'directory' ? '' : links} ${target}`.trimEnd();
  }

  #directories(): string[] {
    return ['', ...[...this.#names].filter(([, node]) => node.type === 'directory').map(([name]) => name)];
  }

  /** A name in the own tree: often one that exists. */
  #name(): string {
    if (this.#names.size > 0 && this.#random.oneIn(2)) return this.#random.pick([...this.#names.keys()]);
    // Few names, so that they are met again; no more than a few hundred.
    return path.join(
      this.#random.pick(this.#directories()),
      `${this.#random.pick(['a', 'b', 'ü', 'with space', 'n'.repeat(60)])}${this.#random.integer(0, 7)}`,
    );
  }

  #at(name: string): string {
    return path.join(this.#root, name);
  }

  /** Why the parent of a name stops every call, if it does. */
  #parent(name: string): 'ok' | 'ENOTDIR' | 'ENOENT' {
    const parent = path.dirname(name);
    if (parent === '.') return 'ok';
    const node = this.#names.get(parent);
    return node === undefined ? 'ENOENT' : node.type === 'directory' ? 'ok' : 'ENOTDIR';
  }

  #empty(name: string): boolean {
    return ![...this.#names.keys()].some((other) => other.startsWith(`${name}/`));
  }

  #make(type: Node['type']): void {
    const name = this.#name();
    const mode = type === 'symlink' ? 0o777 : this.#random.pick([0o755, 0o700, 0o711, 0o777]);
    const target = type === 'symlink' ? this.#random.pick(['x', '../a0', 'nothing/here']) : '';
    const want = this.#parent(name) !== 'ok' ? this.#parent(name) : this.#names.has(name) ? 'EEXIST' : 'ok';
    const at = this.#at(name);
    let result: number;
    if (type === 'directory') result = this.#sys.mkdir(at, mode);
    else if (type === 'symlink') result = this.#sys.symlink(target, at);
    else if (type === 'fifo') result = this.#sys.mkfifo(at, mode);
    else {
      result = this.#sys.open(at, O.CREAT | O.EXCL | O.WRONLY, mode);
      if (result >= 0) this.#sys.close(result);
    }
    expect(`make ${type} ${at}`, result, want);
    if (result < 0) return;
    const file = ++this.#files;
    this.#names.set(name, { type, file, target });
    this.#modes.set(file, mode);
  }

  #rename(): void {
    const [from, to] = [this.#name(), this.#name()];
    const [old, existing] = [this.#names.get(from), this.#names.get(to)];
    const noreplace = this.#random.oneIn(4);
    const result = noreplace
      ? this.#sys.renameat2(-100, this.#at(from), -100, this.#at(to), RENAME.NOREPLACE)
      : this.#sys.rename(this.#at(from), this.#at(to));
    // 9P servers have no RENAME_NOREPLACE: then it is refused as a whole.
    if (noreplace && outcome(result) === 'EINVAL' && !to.startsWith(`${from}/`)) return;
    const what = `rename${noreplace ? ' without replacing' : ''} ${from} -> ${to}`;
    const below = to.startsWith(`${from}/`);
    const above = from.startsWith(`${to}/`);
    if (this.#parent(from) !== 'ok' || this.#parent(to) !== 'ok' || old === undefined)
      expect(
        what,
        result,
        'ENOENT',
        'ENOTDIR',
        ...(below ? ['EINVAL'] : []),
        ...(above ? ['ENOTEMPTY'] : []),
        ...(noreplace && existing ? ['EEXIST'] : []),
      );
    else if (below) expect(what, result, 'EINVAL', ...(noreplace ? ['EEXIST'] : []));
    else if (noreplace && existing !== undefined) expect(what, result, 'EEXIST', ...(above ? ['ENOTEMPTY'] : []));
    else if (above) expect(what, result, 'ENOTEMPTY');
    else if (existing === undefined) expect(what, result, 'ok');
    else if (existing.file === old.file) {
      expect(what, result, 'ok');
      return;
    } else if (old.type === 'directory' && existing.type !== 'directory') expect(what, result, 'ENOTDIR');
    else if (old.type !== 'directory' && existing.type === 'directory') expect(what, result, 'EISDIR');
    else if (old.type === 'directory' && !this.#empty(to)) expect(what, result, 'ENOTEMPTY', 'EEXIST');
    else expect(what, result, 'ok');
    if (result < 0 || old === undefined) return;
    this.#names.delete(from);
    this.#names.set(to, old);
    for (const [name, node] of [...this.#names]) {
      if (!name.startsWith(`${from}/`)) continue;
      this.#names.delete(name);
      this.#names.set(to + name.slice(from.length), node);
    }
  }

  #link(): void {
    const [from, to] = [this.#name(), this.#name()];
    const old = this.#names.get(from);
    const result = this.#sys.link(this.#at(from), this.#at(to));
    const what = `link ${from} -> ${to}`;
    if (this.#parent(from) !== 'ok' || this.#parent(to) !== 'ok' || old === undefined)
      expect(what, result, 'ENOENT', 'ENOTDIR', ...(this.#names.has(to) ? ['EEXIST'] : []));
    else if (this.#names.has(to)) expect(what, result, 'EEXIST', ...(old.type === 'directory' ? ['EPERM'] : []));
    else expect(what, result, old.type === 'directory' ? 'EPERM' : 'ok');
    if (result >= 0 && old !== undefined) this.#names.set(to, old);
  }

  #remove(): void {
    const name = this.#name();
    const node = this.#names.get(name);
    const directory = this.#random.oneIn(2);
    const result = directory ? this.#sys.rmdir(this.#at(name)) : this.#sys.unlink(this.#at(name));
    const what = `${directory ? 'rmdir' : 'unlink'} ${name}`;
    if (this.#parent(name) !== 'ok' || node === undefined) expect(what, result, 'ENOENT', 'ENOTDIR');
    else if (directory) expect(what, result, node.type !== 'directory' ? 'ENOTDIR' : this.#empty(name) ? 'ok' : 'ENOTEMPTY');
    else expect(what, result, node.type === 'directory' ? 'EISDIR' : 'ok');
    if (result >= 0) this.#names.delete(name);
  }

  #chmod(): void {
    const name = this.#name();
    const node = this.#names.get(name);
    if (node === undefined || node.type === 'symlink') return;
    const mode = this.#random.pick([0o700, 0o755, 0o777, 0o1777]);
    expect(`chmod ${name}`, this.#sys.chmod(this.#at(name), mode), 'ok');
    this.#modes.set(node.file, mode);
  }

  #look(): void {
    const name = this.#name();
    const node = this.#names.get(name);
    const status = lstat(this.#sys, this.#at(name));
    if (typeof status === 'number')
      expect(`lstat ${name}`, status, ...(this.#parent(name) !== 'ok' || node === undefined ? ['ENOENT', 'ENOTDIR'] : ['ok']));
    else {
      const got = describe(name, status, status.type === 'symlink' ? fs.readlinkSync(this.#at(name)) : '');
      const want = node === undefined ? 'nothing' : this.#line(name, node);
      if (got !== want) throw new Error(`lstat says ${got}, want ${want}`);
    }
  }

  #list(): void {
    const name = this.#random.pick(this.#directories());
    const got = fs.readdirSync(this.#at(name)).sort();
    const want = [...this.#names.keys()]
      .filter((other) => path.dirname(other) === (name === '' ? '.' : name))
      .map((other) => path.basename(other))
      .sort();
    if (got.join('\0') !== want.join('\0')) throw new Error(`${name} lists ${got.join()}, want ${want.join()}`);
  }

  #alone(): void {
    const kinds = [
      () => this.#make('regular'),
      () => this.#make('regular'),
      () => this.#make('directory'),
      () => this.#make('symlink'),
      () => this.#make('fifo'),
      () => this.#rename(),
      () => this.#rename(),
      () => this.#link(),
      () => this.#remove(),
      () => this.#remove(),
      () => this.#chmod(),
      () => this.#look(),
      () => this.#list(),
    ];
    // A tree that grew large is thinned out.
    if (this.#names.size > 300) this.#remove();
    else this.#random.pick(kinds)();
  }
}

/** What a process of the metadata workload does in the directories that all share: a race decides, whatever it decides is one of a few things, and nothing is lost. */
import fs from 'node:fs';
import path from 'node:path';
import type { Random } from '../random.js';
import { O, outcome } from '../status.js';
import type { Syscalls } from '../syscalls.js';

export const SHARED = 'shared';
/** Files each process moves about and nobody else touches: at the end each must be there, once. */
export const TOKENS = 20;

export function expect(what: string, result: number, ...want: string[]): void {
  const got = outcome(result);
  if (!want.includes(got)) throw new Error(`${what}: got ${got}, want ${want.join(' or ')}`);
}

// ESTALE: a name that others replaced twice while it was being opened; the kernel looks again once, as for any file system over a network.
const RACES = ['ok', 'ENOENT', 'EEXIST', 'ENOTDIR', 'EISDIR', 'ENOTEMPTY', 'ESTALE'];

export class Shared {
  readonly #root: string;
  readonly #index: number;
  readonly #random: Random;
  readonly #sys: Syscalls;
  readonly #tokens = new Map<number, string>();
  readonly #kinds: readonly (() => void)[];

  constructor(root: string, index: number, random: Random, sys: Syscalls) {
    this.#root = root;
    this.#index = index;
    this.#random = random;
    this.#sys = sys;
    this.#kinds = [
      () => this.#move(),
      () => this.#write(),
      () => expect('unlink of a shared name', sys.unlink(this.#common()), ...RACES),
      () => expect('rename of shared names', sys.rename(this.#common(), this.#common()), ...RACES),
      () => expect('link of shared names', sys.link(this.#common(), this.#common()), ...RACES, 'EPERM'),
      () => expect('mkdir of a shared name', sys.mkdir(this.#common(), 0o755), ...RACES),
      () => expect('rmdir of a shared name', sys.rmdir(this.#common()), ...RACES),
      () => this.#lock(),
      () => this.#look(),
    ];
  }

  begin(): void {
    for (let n = 0; n < TOKENS; n++) {
      const at = path.join(this.#root, 's0', `token-${this.#index}-${n}`);
      expect(`token ${at}`, this.#sys.mknod(at, 0o100644, 0), 'ok');
      this.#tokens.set(n, at);
    }
  }

  step(): void {
    this.#random.pick(this.#kinds)();
  }

  #place(name: string): string {
    return path.join(this.#root, `s${this.#random.integer(0, 2)}`, name);
  }

  #common(): string {
    return this.#place(`common${this.#random.integer(0, 9)}`);
  }

  #move(): void {
    const n = this.#random.integer(0, TOKENS - 1);
    const from = this.#tokens.get(n);
    if (from === undefined) return;
    const to = this.#place(`token-${this.#index}-${n}${this.#random.pick(['', '.x', '.y'])}`);
    expect(`rename of a token ${from} -> ${to}`, this.#sys.rename(from, to), 'ok');
    this.#tokens.set(n, to);
  }

  #write(): void {
    const fd = this.#sys.open(this.#common(), O.CREAT | O.RDWR, 0o644);
    expect('open of a shared name', fd, ...RACES);
    if (fd < 0) return;
    expect('write to a shared file', this.#sys.write(fd, Buffer.from('x'), 1), 'ok');
    this.#sys.close(fd);
  }

  /** Whoever makes the lock has it alone. */
  #lock(): void {
    const lock = path.join(this.#root, 's1', 'lock');
    const fd = this.#sys.open(lock, O.CREAT | O.EXCL | O.WRONLY, 0o644);
    expect('open of the lock', fd, 'ok', 'EEXIST');
    if (fd < 0) return;
    const name = String(this.#index);
    expect('write to the lock', this.#sys.write(fd, Buffer.from(name), name.length), 'ok');
    this.#sys.close(fd);
    const holder = fs.readFileSync(lock, 'utf8');
    if (holder !== name) throw new Error(`the lock of process ${name} holds ${JSON.stringify(holder)}`);
    expect('unlink of the lock', this.#sys.unlink(lock), 'ok');
  }

  #look(): void {
    const names = fs.readdirSync(path.join(this.#root, `s${this.#random.integer(0, 2)}`));
    if (new Set(names).size !== names.length) throw new Error(`listed twice: ${names.join()}`);
    for (const [n, at] of this.#tokens) {
      if (this.#random.oneIn(5)) expect(`token ${n} where it was put`, this.#sys.access(at, 0), 'ok');
    }
  }
}

/**
 * Random operations on one file, every byte of which is known: reads, writes, appends, stores into a shared mapping, truncation, holes, copies inside the file, through
 * several descriptors that come and go. What is read must be what the model says, always.
 */
import { Random } from '../random.js';
import { FALLOC, fstat, O, outcome, SEEK, stat } from '../status.js';
import { loadSyscalls, mmapShared, pages, peek, poke, type Syscalls } from '../syscalls.js';

export interface OperationsOptions {
  readonly operations: number;
  readonly seed?: number;
  /** The file grows no larger. Default 256 KiB. */
  readonly largest?: number;
  /** No single operation is larger. Default 64 KiB. */
  readonly longest?: number;
  /** O_DIRECT for reads and writes, in whole blocks; no mapping then. */
  readonly direct?: boolean;
  /** How many descriptors are open at once. Default 2. */
  readonly descriptors?: number;
  /** Leaves mappings out, where the file system cannot have them. */
  readonly noMapping?: boolean;
  /** How many processes' worth of prints: a line for each operation on standard error. */
  readonly trace?: boolean;
}

export interface OperationsReport {
  readonly seed: number;
  /** How often each kind was done. */
  readonly done: Readonly<Record<string, number>>;
  /** Kinds the file system does not have, with its errno. */
  readonly unsupported: Readonly<Record<string, string>>;
}

const BLOCK = 4096;
const PAGE = 4096;

class Difference extends Error {}

/** Runs on `file`, which is made; it is left behind when the run fails. */
export function operations(file: string, options: OperationsOptions): OperationsReport {
  return new Run(file, options).run();
}

class Run {
  readonly #sys: Syscalls = loadSyscalls();
  readonly #file: string;
  readonly #options: OperationsOptions;
  readonly #random: Random;
  readonly #model: Buffer;
  readonly #longest: number;
  readonly #direct: boolean;
  readonly #memory: bigint;
  #size = 0;
  #fds: number[] = [];
  #log: string[] = [];
  readonly #done: Record<string, number> = {};
  readonly #unsupported: Record<string, string> = {};

  constructor(file: string, options: OperationsOptions) {
    this.#file = file;
    this.#options = options;
    this.#random = new Random(options.seed);
    this.#model = Buffer.alloc(options.largest ?? 256 * 1024);
    this.#longest = Math.min(options.longest ?? 64 * 1024, this.#model.length);
    this.#direct = options.direct === true;
    this.#memory = pages(this.#longest + PAGE);
  }

  run(): OperationsReport {
    this.#must('unlink', this.#sys.unlink(this.#file), 'ENOENT');
    for (let n = 0; n < (this.#options.descriptors ?? 2); n++) this.#fds.push(this.#open(O.CREAT));
    const kinds: [kind: string, weight: number, run: () => void][] = [
      ['read', 20, () => this.#read()],
      ['write', 20, () => this.#write()],
      ['append', 4, () => this.#append()],
      ['truncate', 6, () => this.#truncate()],
      ['punch', 4, () => this.#punch()],
      ['zero', 2, () => this.#zero()],
      ['allocate', 2, () => this.#allocate()],
      ['copy', 3, () => this.#copy()],
      ['reopen', 3, () => this.#reopen()],
      ['sync', 1, () => this.#sync()],
      ['size', 3, () => this.#look()],
      ['seek', 2, () => this.#seek()],
      ['whole', 1, () => this.#whole()],
      ['truncateOpen', 1, () => this.#truncateOpen()],
      ...(this.#direct || this.#options.noMapping === true
        ? []
        : ([
            ['mapRead', 10, () => this.#mapRead()],
            ['mapWrite', 12, () => this.#mapWrite()],
          ] satisfies [string, number, () => void][])),
    ];
    const lot = kinds.flatMap(([kind, weight, run]) => Array.from({ length: weight }, () => ({ kind, run })));
    let number = 0;
    try {
      for (; number < this.#options.operations; number++) {
        const { kind, run } = this.#random.pick(lot);
        if (kind in this.#unsupported) continue;
        this.#done[kind] = (this.#done[kind] ?? 0) + 1;
        run();
      }
      this.#whole();
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      throw new Difference(
        `operation ${number} of seed ${this.#random.seed}: ${text}\nsize ${this.#size}; the last operations:\n  ${this.#log.slice(-40).join('\n  ')}`,
      );
    } finally {
      for (const fd of this.#fds) this.#sys.close(fd);
    }
    this.#must('unlink', this.#sys.unlink(this.#file));
    return { seed: this.#random.seed, done: this.#done, unsupported: this.#unsupported };
  }

  #note(text: string): void {
    this.#log.push(text);
    if (this.#log.length > 200) this.#log = this.#log.slice(-100);
    if (this.#options.trace === true) process.stderr.write(`${text}\n`);
  }

  #must(what: string, result: number, ...also: string[]): number {
    if (result < 0 && !also.includes(outcome(result))) throw new Difference(`${what}: ${outcome(result)}`);
    return result;
  }

  /** Whether the call is there; takes the kind out of the lot where it is not. */
  #supported(kind: string, result: number): boolean {
    const name = outcome(result);
    if (name !== 'EOPNOTSUPP' && name !== 'ENOSYS' && name !== 'ENODEV') {
      this.#must(kind, result);
      return true;
    }
    this.#unsupported[kind] = name;
    return false;
  }

  get #fd(): number {
    return this.#random.pick(this.#fds);
  }

  #open(more = 0): number {
    return this.#must('open', this.#sys.open(this.#file, O.RDWR | more | (this.#direct ? O.DIRECT : 0), 0o644));
  }

  /** A place and a length in whole blocks when direct. */
  #range(within: number): [at: number, length: number] {
    const unit = this.#direct ? BLOCK : 1;
    const at = this.#random.integer(0, Math.max(0, Math.floor((within - 1) / unit))) * unit;
    // Short ones are as likely as long ones.
    const longest = this.#random.oneIn(2) ? this.#longest : Math.min(this.#longest, this.#random.pick([64, 512, BLOCK, BLOCK * 3]));
    const length = Math.max(unit, Math.floor(this.#random.integer(1, longest) / unit) * unit);
    return [at, Math.min(length, this.#model.length - at)];
  }

  #compare(what: string, at: number, got: Buffer, want: Buffer = this.#model.subarray(at, at + got.length)): void {
    if (got.equals(want)) return;
    let first = 0;
    while (got[first] === want[first]) first++;
    let last = got.length - 1;
    while (got[last] === want[last]) last--;
    const hex = (b: Buffer): string => b.subarray(first, first + 16).toString('hex');
    throw new Difference(
      `${what}: bytes ${at + first}..${at + last} differ: got ${hex(got)} want ${hex(want)}${hex(got).replaceAll('0', '') === '' ? ' (zeros)' : ''}`,
    );
  }

  #pread(fd: number, length: number, at: number): Buffer {
    const want = Math.max(0, Math.min(length, this.#size - at));
    if (!this.#direct) {
      const b = Buffer.alloc(length);
      const got = this.#must('pread', this.#sys.pread(fd, b, length, at));
      if (got !== want) throw new Difference(`pread of ${length} at ${at} gave ${got} bytes, not ${want}`);
      return b.subarray(0, got);
    }
    const got = this.#must('pread', this.#sys.pread(fd, this.#memory, length, at));
    if (got !== want) throw new Difference(`direct pread of ${length} at ${at} gave ${got} bytes, not ${want}`);
    return peek(this.#memory, got);
  }

  #read(): void {
    const [at, length] = this.#range(Math.max(1, this.#size));
    this.#note(`read ${at}+${length}`);
    this.#compare('read', at, this.#pread(this.#fd, length, at));
  }

  #pwrite(fd: number, bytes: Buffer, at: number): void {
    let result: number;
    if (this.#direct) {
      poke(this.#memory, bytes);
      result = this.#sys.pwrite(fd, this.#memory, bytes.length, at);
    } else result = this.#sys.pwrite(fd, bytes, bytes.length, at);
    if (this.#must('pwrite', result) !== bytes.length) throw new Difference(`pwrite of ${bytes.length} at ${at} took ${result}`);
  }

  #write(): void {
    const [at, length] = this.#range(this.#model.length);
    const bytes = this.#random.bytes(length);
    this.#note(`write ${at}+${length}`);
    this.#pwrite(this.#fd, bytes, at);
    bytes.copy(this.#model, at);
    this.#size = Math.max(this.#size, at + length);
  }

  #append(): void {
    const room = this.#model.length - this.#size;
    const unit = this.#direct ? BLOCK : 1;
    // A direct append has to begin at a block.
    if (room < unit || this.#size % unit !== 0) return;
    const length = Math.max(unit, Math.floor(this.#random.integer(1, Math.min(room, this.#longest, 9000)) / unit) * unit);
    if (length > room) return;
    const bytes = this.#random.bytes(length);
    this.#note(`append ${this.#size}+${length}`);
    const fd = this.#open(O.APPEND);
    if (this.#direct) poke(this.#memory, bytes);
    const took = this.#must('append', this.#sys.write(fd, this.#direct ? this.#memory : bytes, length));
    if (took !== length) throw new Difference(`append of ${length} took ${took}`);
    this.#must('close', this.#sys.close(fd));
    bytes.copy(this.#model, this.#size);
    this.#size += length;
  }

  #resize(size: number): void {
    if (size < this.#size) this.#model.fill(0, size, this.#size);
    this.#size = size;
  }

  #truncate(): void {
    const size = this.#random.oneIn(10) ? 0 : this.#random.integer(0, this.#model.length);
    this.#note(`truncate ${this.#size} -> ${size}`);
    this.#must('truncate', this.#random.oneIn(2) ? this.#sys.truncate(this.#file, size) : this.#sys.ftruncate(this.#fd, size));
    this.#resize(size);
  }

  #truncateOpen(): void {
    this.#note('open with O_TRUNC');
    this.#must('close', this.#sys.close(this.#open(O.TRUNC)));
    this.#resize(0);
  }

  #punch(): void {
    const [at, length] = this.#range(Math.max(1, this.#size));
    this.#note(`punch ${at}+${length}`);
    if (!this.#supported('punch', this.#sys.fallocate(this.#fd, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, at, length))) return;
    this.#model.fill(0, at, Math.min(at + length, this.#size));
  }

  #zero(): void {
    const [at, length] = this.#range(Math.max(1, this.#size));
    this.#note(`zero ${at}+${length}`);
    if (!this.#supported('zero', this.#sys.fallocate(this.#fd, FALLOC.ZERO_RANGE, at, length))) return;
    this.#model.fill(0, at, at + length);
    this.#size = Math.max(this.#size, at + length);
  }

  #allocate(): void {
    const [at, length] = this.#range(this.#model.length);
    this.#note(`allocate ${at}+${length}`);
    if (!this.#supported('allocate', this.#sys.fallocate(this.#fd, 0, at, length))) return;
    this.#size = Math.max(this.#size, at + length);
  }

  #copy(): void {
    if (this.#size < 2) return;
    const [from, wanted] = this.#range(this.#size);
    // Through direct descriptors whole blocks only: the kernel copies by reading and writing directly.
    const length = this.#direct ? Math.floor(Math.min(wanted, this.#size - from) / BLOCK) * BLOCK : Math.min(wanted, this.#size - from);
    if (length === 0) return;
    const to = this.#range(this.#model.length)[0];
    if (to + length > this.#model.length || Math.abs(from - to) < length) return;
    this.#note(`copy ${from}+${length} -> ${to}`);
    const place = (at: number): Buffer => {
      const b = Buffer.alloc(8);
      b.writeBigInt64LE(BigInt(at));
      return b;
    };
    const result = this.#sys.copy_file_range(this.#fd, place(from), this.#fd, place(to), length, 0);
    // Direct descriptors may refuse a length that is no whole block.
    if (this.#direct && outcome(result) === 'EINVAL') return;
    if (!this.#supported('copy', result)) return;
    this.#model.copy(this.#model, to, from, from + result);
    this.#size = Math.max(this.#size, to + result);
  }

  #reopen(): void {
    this.#note('reopen');
    const which = this.#random.integer(0, this.#fds.length - 1);
    this.#must('close', this.#sys.close(this.#fds[which] ?? -1));
    this.#fds[which] = this.#open();
  }

  #sync(): void {
    this.#note('sync');
    this.#must('sync', this.#random.oneIn(2) ? this.#sys.fsync(this.#fd) : this.#sys.fdatasync(this.#fd));
  }

  #look(): void {
    const status = this.#random.oneIn(2) ? stat(this.#sys, this.#file) : fstat(this.#sys, this.#fd);
    if (typeof status === 'number') throw new Difference(`stat: ${outcome(status)}`);
    this.#note('stat');
    if (status.size !== this.#size) throw new Difference(`stat says ${status.size} bytes, not ${this.#size}`);
  }

  /** What lies before the first data that SEEK_DATA finds must be zeros. */
  #seek(): void {
    if (this.#size === 0) return;
    const at = this.#random.integer(0, this.#size - 1);
    this.#note(`seek data ${at}`);
    const data = this.#sys.lseek(this.#fd, at, SEEK.DATA);
    const skipped = this.#model.subarray(at, outcome(data) === 'ENXIO' ? this.#size : this.#must('SEEK_DATA', data));
    if (skipped.some((byte) => byte !== 0)) throw new Difference(`SEEK_DATA from ${at} went to ${data}, over bytes that are not zero`);
  }

  #whole(): void {
    this.#note('whole');
    const fd = this.#fd;
    for (let at = 0; at < this.#size; at += this.#longest) {
      const unit = this.#direct ? BLOCK : 1;
      this.#compare('whole', at, this.#pread(fd, Math.ceil(Math.min(this.#longest, this.#size - at) / unit) * unit, at));
    }
  }

  /** Maps the pages around a range, which must lie in the file: touching a page behind its end would raise SIGBUS. */
  #map(at: number, length: number, use: (address: bigint) => void): void {
    const start = at - (at % PAGE);
    const span = Math.ceil((at + length - start) / PAGE) * PAGE;
    const address = mmapShared(this.#fd, span, start);
    if (typeof address === 'number') {
      this.#supported('mapRead', address);
      this.#supported('mapWrite', address);
      return;
    }
    use(address + BigInt(at - start));
    // Behind the end of the file its last page is zeros, in the mapping too.
    const end = at + length === this.#size ? start + span - this.#size : 0;
    if (end > 0) this.#compare('the rest of the last page', 0, peek(address + BigInt(this.#size - start), end), Buffer.alloc(end));
    if (this.#random.oneIn(3)) this.#must('msync', this.#sys.msync(address, span, 4));
    this.#must('munmap', this.#sys.munmap(address, span));
  }

  #mapRead(): void {
    if (this.#size === 0) return;
    const [at, wanted] = this.#range(this.#size);
    const length = Math.min(wanted, this.#size - at);
    this.#note(`map read ${at}+${length}`);
    this.#map(at, length, (address) => this.#compare('map read', at, peek(address, length)));
  }

  #mapWrite(): void {
    if (this.#size === 0) return;
    const [at, wanted] = this.#range(this.#size);
    const length = Math.min(wanted, this.#size - at);
    const bytes = this.#random.bytes(length);
    this.#note(`map write ${at}+${length}`);
    this.#map(at, length, (address) => {
      poke(address, bytes);
      bytes.copy(this.#model, at);
    });
  }
}

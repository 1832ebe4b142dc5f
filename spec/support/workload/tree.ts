/** A tree with everything a tree may hold, and a comparison of two that leaves nothing out. */
import fs from 'node:fs';
import path from 'node:path';
import { Random } from '../random.js';
import { type FileType, lstat, makedev, O, S, SEEK, type Status, timespecs } from '../status.js';
import { loadSyscalls } from '../syscalls.js';

export interface TreeOptions {
  /** Small files. Default 10,000. */
  readonly files?: number;
  /** Bytes of the one large file. Default 2 GiB. */
  readonly large?: number;
  /** Bytes that the sparse file claims to have. Default 5 GiB. */
  readonly sparse?: number;
  /** Levels of the deepest directory. Default 60. */
  readonly depth?: number;
  /** Device nodes and foreign owners, which only root can make. Default: if root. */
  readonly privileged?: boolean;
  readonly seed?: number;
}

export interface TreeReport {
  readonly seed: number;
  readonly entries: number;
}

const sys = loadSyscalls();

/** Makes the tree in `directory`, which must be there. */
export function makeTree(directory: string, options: TreeOptions = {}): TreeReport {
  const random = new Random(options.seed);
  const privileged = options.privileged ?? process.geteuid?.() === 0;
  const files = options.files ?? 10_000;
  let entries = 0;
  const made: string[] = [];
  const under = (...names: string[]): string => path.join(directory, ...names);
  const file = (at: string, content: Buffer | string, mode = 0o644): void => {
    fs.writeFileSync(at, content, { mode });
    made.push(at);
    entries++;
  };
  const mkdir = (at: string): string => {
    fs.mkdirSync(at);
    made.push(at);
    entries++;
    return at;
  };

  // Many small files, a hundred in a directory.
  const many = mkdir(under('many'));
  for (let n = 0; n < files; n++) {
    const folder = path.join(many, `folder ${Math.floor(n / 100)}`);
    if (n % 100 === 0) mkdir(folder);
    file(
      path.join(folder, `file-${n}.txt`),
      random.bytes(random.pick([0, 1, 17, 100, 1024, 4096, 5000])),
      random.pick([0o644, 0o600, 0o755, 0o444]),
    );
  }
  let deep = mkdir(under('deep'));
  for (let level = 0; level < (options.depth ?? 60); level++) {
    deep = mkdir(path.join(deep, `level-${level}`));
    if (level % 10 === 0) file(path.join(deep, 'note'), `level ${level}\n`);
  }

  const names = mkdir(under('names'));
  for (const name of [
    'with space',
    ' leading',
    'trailing ',
    '日本語',
    'Ünïcödé',
    'e\u0301',
    'é',
    '🜁 alchemy',
    'new\nline',
    'tab\t',
    'quote\'"',
    'back\\slash',
    '-rf',
    '*',
    '?',
    '[a]',
    '.hidden',
    '...',
    '~',
    '#',
    '%41',
    'n'.repeat(255),
    'ü'.repeat(127),
  ]) {
    file(path.join(names, name), name);
  }
  const links = mkdir(under('links'));
  for (const [name, target] of [
    ['to file', '../names/with space'],
    ['to directory', '../many'],
    ['to nothing', 'nothing at all'],
    ['absolute', '/etc/hostname'],
    ['itself', 'itself'],
    ['long', 'x/'.repeat(300)],
    ['utf-8', '../names/日本語'],
  ] as const) {
    fs.symlinkSync(target, path.join(links, name));
    made.push(path.join(links, name));
    entries++;
  }
  const hard = mkdir(under('hard'));
  for (let n = 0; n < 20; n++) {
    const first = path.join(hard, `first ${n}`);
    file(first, `linked ${n}`);
    for (let again = 0; again < 1 + (n % 3); again++) {
      fs.linkSync(first, again === 0 ? path.join(hard, `second ${n}`) : path.join(deep, `link ${n}.${again}`));
      entries++;
    }
  }

  const special = mkdir(under('special'));
  const node = (name: string, type: number, device: bigint): void => {
    const at = path.join(special, name);
    const result = sys.mknod(at, type | 0o640, device);
    if (result < 0) throw new Error(`mknod ${at}: ${result}`);
    made.push(at);
    entries++;
  };
  node('fifo', S.IFIFO, 0n);
  node('socket', S.IFSOCK, 0n);
  if (privileged) {
    node('null', S.IFCHR, makedev(1, 3));
    node('loop', S.IFBLK, makedev(7, 0));
  }
  const modes = mkdir(under('modes'));
  for (const mode of [0o000, 0o400, 0o200, 0o111, 0o777, 0o4755, 0o2755, 0o1644]) {
    // Only root copies what its owner may not read.
    if ((mode & 0o400) === 0 && process.geteuid?.() !== 0) continue;
    const at = path.join(modes, mode.toString(8));
    file(at, 'x');
    fs.chmodSync(at, mode);
  }
  fs.chmodSync(mkdir(path.join(modes, 'sticky')), 0o1777);
  fs.chmodSync(mkdir(path.join(modes, 'setgid')), 0o2775);
  if (privileged) {
    const owners = mkdir(under('owners'));
    for (const id of [1, 1000, 65534, 100_000]) {
      const at = path.join(owners, String(id));
      file(at, 'x');
      fs.chownSync(at, id, id + 1);
    }
  }

  const sparse = fs.openSync(under('sparse'), 'w');
  const claims = options.sparse ?? 5 * 2 ** 30;
  for (const at of [0, 1_000_000, Math.floor(claims / 2), claims - 5000]) fs.writeSync(sparse, random.bytes(5000), 0, 5000, at);
  fs.ftruncateSync(sparse, claims + 123_456);
  fs.closeSync(sparse);
  made.push(under('sparse'));
  const large = fs.openSync(under('large'), 'w');
  const block = random.bytes(1 << 20);
  const size = options.large ?? 2 * 2 ** 30;
  for (let at = 0; at < size; at += block.length) {
    block.writeDoubleLE(at, 0);
    fs.writeSync(large, block, 0, Math.min(block.length, size - at), at);
  }
  fs.closeSync(large);
  made.push(under('large'));
  entries += 2;

  // The deepest first: what is made in a directory changes its times.
  for (const at of made.reverse()) {
    const seconds = random.integer(0, 1_700_000_000);
    const result = sys.utimensat(
      -100,
      at,
      timespecs([seconds, random.integer(0, 999_999_999)], [seconds, random.integer(0, 999_999_999)]),
      0x100,
    );
    if (result < 0) throw new Error(`utimensat ${at}: ${result}`);
  }
  return { seed: random.seed, entries };
}

const PIECE = 1 << 20;

/** Whether two files hold the same bytes. Holes are passed over where both sides know them. */
function sameContent(one: string, other: string, size: number): number {
  const flags = O.RDONLY;
  const a = sys.open(one, flags, 0);
  const b = sys.open(other, flags, 0);
  if (a < 0 || b < 0) throw new Error(`open ${a < 0 ? one : other}: ${Math.min(a, b)}`);
  const [left, right] = [Buffer.alloc(PIECE), Buffer.alloc(PIECE)];
  try {
    for (let at = 0; at < size; ) {
      const skip = Math.min(nextData(a, at, size), nextData(b, at, size));
      at = Math.max(at, skip - (skip % 4096));
      if (at >= size) return -1;
      const got = sys.pread(a, left, PIECE, at);
      for (let have = 0; have < got; ) {
        const more = sys.pread(b, right.subarray(have), got - have, at + have);
        if (more <= 0) return at + have;
        have += more;
      }
      if (got <= 0) return at;
      if (Buffer.compare(left.subarray(0, got), right.subarray(0, got)) !== 0) {
        let first = 0;
        while (left[first] === right[first]) first++;
        return at + first;
      }
      at += got;
    }
    return -1;
  } finally {
    sys.close(a);
    sys.close(b);
  }
}

function nextData(fd: number, at: number, size: number): number {
  const data = sys.lseek(fd, at, SEEK.DATA);
  // No data behind: the rest is a hole. Any other refusal: no holes are known, everything is data.
  return data >= 0 ? data : data === -6 ? size : at;
}

/** The differences of two trees: names, types, modes, owners, sizes, times, targets, device numbers, which names are one file, and every byte. */
export function compareTrees(one: string, other: string): string[] {
  const differences: string[] = [];
  const left = new Map<string, string[]>();
  const right = new Map<string, string[]>();
  const note = (links: Map<string, string[]>, status: Status, name: string): void => {
    if (status.nlink < 2 || status.type === 'directory') return;
    const key = `${status.dev} ${status.ino}`;
    links.set(key, [...(links.get(key) ?? []), name]);
  };
  const must = (at: string): Status => {
    const status = lstat(sys, at);
    if (typeof status === 'number') throw new Error(`lstat ${at}: ${status}`);
    return status;
  };
  const visit = (name: string): void => {
    if (differences.length > 100) return;
    const [a, b] = [path.join(one, name), path.join(other, name)];
    const [x, y] = [must(a), must(b)];
    const differ = (what: string, p: unknown, q: unknown): void => {
      if (p !== q) differences.push(`${name || '.'}: ${what}: ${String(p)} and ${String(q)}`);
    };
    differ('type', x.type, y.type);
    if (x.type !== y.type) return;
    differ('mode', x.mode.toString(8), y.mode.toString(8));
    differ('owner', `${x.uid}:${x.gid}`, `${y.uid}:${y.gid}`);
    if (name !== '') differ('mtime', x.mtime, y.mtime);
    if (x.type !== 'directory') {
      differ('links', x.nlink, y.nlink);
      differ('size', x.size, y.size);
    }
    note(left, x, name);
    note(right, y, name);
    const type: FileType = x.type;
    if (type === 'symlink') differ('target', fs.readlinkSync(a), fs.readlinkSync(b));
    else if (type === 'char' || type === 'block') differ('device', x.rdev, y.rdev);
    else if (type === 'regular' && x.size === y.size) {
      const at = sameContent(a, b, x.size);
      if (at >= 0) differences.push(`${name}: content differs at ${at}`);
    } else if (type === 'directory') {
      const [p, q] = [new Set(fs.readdirSync(a)), new Set(fs.readdirSync(b))];
      for (const entry of [...p].sort()) {
        if (q.has(entry)) visit(path.join(name, entry));
        else differences.push(`${path.join(name, entry)}: missing on the right`);
      }
      for (const entry of q) if (!p.has(entry)) differences.push(`${path.join(name, entry)}: missing on the left`);
    }
  };
  visit('');
  const groups = (links: Map<string, string[]>): string[] => [...links.values()].map((list) => list.sort().join(' = ')).sort();
  const [p, q] = [groups(left), groups(right)];
  for (const list of p) if (!q.includes(list)) differences.push(`names of one file on the left only: ${list}`);
  for (const list of q) if (!p.includes(list)) differences.push(`names of one file on the right only: ${list}`);
  return differences;
}

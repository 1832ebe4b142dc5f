import { mkdirSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Dirents } from '../../lib/sys/dirent.js';
import { Files } from '../../lib/sys/files.js';
import { AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_PATH, O_RDWR } from '../../lib/sys/flags.js';
import { readFlock, writeFlock } from '../../lib/sys/lock.js';
import { type Op, run, wait } from '../../lib/sys/op.js';
import { makedev } from '../../lib/sys/stat.js';
import { OwnThreads, sharedThreads } from '../../lib/sys/threads.js';
import { TemporaryDirectory } from '../support/temporary.js';

describe('operations', () => {
  test('without a wait are answered at once, with one by a promise; errors alike', async () => {
    function* plain(pause = false): Op<number> {
      if (pause) yield* wait(Promise.resolve());
      return 1;
    }
    function* waits(): Op<number> {
      return (yield* wait(Promise.resolve(20))) + (yield* plain());
    }
    function* fails(first: boolean): Op<number> {
      if (!first) yield* wait(Promise.resolve());
      throw new Error('no');
    }
    function* catches(): Op<string> {
      try {
        yield* wait(Promise.reject(new Error('rejected')));
      } catch (error) {
        return (error as Error).message;
      }
      return 'went on';
    }
    expect(run(plain())).toBe(1);
    expect(run(waits())).toBeInstanceOf(Promise);
    expect(await run(waits())).toBe(21);
    expect(() => run(fails(true))).toThrow('no');
    await expect(run(fails(false))).rejects.toThrow('no');
    expect(await run(catches())).toBe('rejected');
  });
});

const kinds = [
  ['on this thread', undefined],
  ['on Node’s threads', sharedThreads],
  ['on threads of their own', new OwnThreads(4)],
] as const;

describe.each(kinds)('system calls %s', (_name, threads) => {
  const files = new Files(threads);

  test('tell and do what the host’s own do', async () => {
    await using directory = new TemporaryDirectory('sys');
    const dirfd = await run(files.openat(AT_FDCWD, directory.path, O_PATH | O_DIRECTORY | O_CLOEXEC));
    expect(dirfd).toBeGreaterThan(2);
    expect(await run(files.mkdirat(dirfd, 'd', 0o751))).toBe(0);
    expect(await run(files.mkdirat(dirfd, 'd', 0o751))).toBe(-17);
    const fd = await run(files.openat(dirfd, 'f', O_RDWR | 0o100, 0o600));
    expect(await run(files.writeValue(fd, Buffer.from('hello')))).toBe(5);
    expect(await run(files.utimens(fd, -1, 5, 2 ** 33, 999_999_999))).toBe(0);
    expect(await run(files.chmod(fd, 0o640))).toBe(0);
    const held = await run(files.openat(dirfd, 'f', O_PATH | O_NOFOLLOW | O_CLOEXEC));
    expect(await run(files.statOf(held))).toBe(0);
    const host = statSync(directory.join('f'), { bigint: true });
    const { stat } = files;
    expect(stat).toMatchObject({ ino: host.ino, size: 5, mode: 0o100640, nlink: 1, mtimeSec: 2 ** 33, mtimeNsec: 999_999_999 });
    expect([stat.atimeSec, stat.atimeNsec]).toEqual([-1, 5]);
    expect(BigInt(stat.ctimeSec) * 1_000_000_000n + BigInt(stat.ctimeNsec)).toBe(host.ctimeNs);
    // O_PATH descriptors take part in everything.
    expect(await run(files.chmod(held, 0o600))).toBe(0);
    expect(await run(files.truncate(held, 3))).toBe(0);
    expect(await run(files.setxattr(held, 'user.x', Buffer.from('value'), 0))).toBe(0);
    expect(await run(files.getxattr(held, 'user.x'))).toBe(5);
    expect(files.value.toString('latin1', 0, 5)).toBe('value');
    expect(await run(files.listxattr(held))).toBe(7);
    expect(await run(files.removexattr(held, 'user.x'))).toBe(0);
    expect(await run(files.getxattr(fd, 'user.x'))).toBe(-61);
    expect(await run(files.linkOf(held, dirfd, 'g'))).toBe(0);
    expect(statSync(directory.join('g'))).toMatchObject({ size: 3, nlink: 2 });
    const open = await run(files.reopen(held, 0));
    const buffer = Buffer.alloc(10);
    expect(await run(files.pread(open, buffer, 2, 8, 0))).toBe(3);
    expect(buffer.toString('latin1', 2, 5)).toBe('hel');
    expect(await run(files.statAt(dirfd, 'nö\u{1f600}'))).toBe(-2);
    expect(await run(files.openat(dirfd, 'n'.repeat(5000), 0))).toBe(-36);
    expect(await run(files.openat(dirfd, 'a\0b', 0))).toBe(-22);
    for (const one of [open, held, fd, dirfd]) expect(await run(files.close(one))).toBe(0);
    expect(await run(files.close(fd))).toBe(-9);
  });

  test('list a directory as node:fs does', async () => {
    await using directory = new TemporaryDirectory('sys');
    for (let n = 0; n < 500; n++) writeFileSync(directory.join(`${n}${'ü'.repeat(n % 100)}`), '');
    mkdirSync(directory.join('dir'));
    symlinkSync('x', directory.join('link'));
    const fd = await run(files.openat(AT_FDCWD, directory.path, O_DIRECTORY | O_CLOEXEC));
    const dirents = new Dirents(files.value);
    const found = new Map<string, number>();
    let cookie = 0n;
    for (let length = 1; length > 0; ) {
      expect(await run(files.lseek(fd, cookie))).toBeGreaterThanOrEqual(0);
      length = await run(files.getdents(fd, 4096));
      dirents.reset(length);
      // Half of what came is thrown away: the cookie of the last one taken leads to the rest.
      for (let n = 0; n < 20 && dirents.next(); n++) {
        found.set(dirents.bytes.toString('utf8', dirents.nameStart, dirents.nameEnd), dirents.type);
        cookie = dirents.offset;
      }
    }
    await run(files.close(fd));
    expect([...found.keys()].filter((name) => name !== '.' && name !== '..').sort()).toEqual(readdirSync(directory.path).sort());
    expect([found.get('dir'), found.get('link'), found.get('0')]).toEqual([4, 10, 8]);
  });
});

test('more calls than threads wait in turn, and threads that are let go of end', async () => {
  await using directory = new TemporaryDirectory('sys');
  const threads = new OwnThreads(2);
  const results = await Promise.all(
    Array.from({ length: 300 }, (_, n) => {
      const files = new Files(threads);
      return run(files.mkdirat(AT_FDCWD, directory.join(`${n}`), 0o755));
    }),
  );
  expect(results).toEqual(Array(300).fill(0));
  expect(readdirSync(directory.path)).toHaveLength(300);
  threads.close();
});

test('a thread that has nothing to do is the next one’s, whoever that is', async () => {
  const stat = (threads: OwnThreads) => run(new Files(threads).statAt(AT_FDCWD, '/proc/self'));
  const tasks = () => readdirSync('/proc/self/task').length;
  const first = new OwnThreads();
  expect(await stat(first)).toBe(0);
  const before = tasks();
  const others = Array.from({ length: 8 }, () => new OwnThreads());
  for (const other of others) expect(await stat(other)).toBe(0);
  expect(tasks()).toBeLessThanOrEqual(before);
  for (const threads of [first, ...others]) {
    threads.close();
    threads.close();
  }
});

test('numbers the kernel packs', () => {
  expect(makedev(8, 1)).toBe(0x801n);
  expect(makedev(4, 300)).toBe(0x10042cn);
  expect(makedev(0x12345, 0xabcde)).toBe(0x12000abc345den);
  const view = new DataView(new ArrayBuffer(32));
  writeFlock(view, 1, 2 ** 52 + 1, 2 ** 40);
  expect(readFlock(view)).toEqual({ type: 1, start: 2 ** 52 + 1, length: 2 ** 40, pid: 0 });
});

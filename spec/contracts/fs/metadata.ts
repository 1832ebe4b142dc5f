import { constants } from 'node:fs';
import { beforeEach, expect, test } from 'vitest';
import type { Place } from '../fs.js';
import { fails, refuses } from './errors.js';

/** stat and its like, access, chmod, chown, times, statfs. */
export function metadata(at: () => Place): void {
  let place: Place;
  let file: string;
  beforeEach(async () => {
    place = at();
    file = place.path('file');
    await place.fs.writeFile(file, 'hello', { mode: 0o644 });
    await place.fs.mkdir(place.path('dir'), { mode: 0o755 });
    await place.fs.symlink('file', place.path('link'));
  });

  test('stat of a file', async () => {
    const before = Date.now();
    const stats = await place.fs.stat(file);
    expect(stats.isFile()).toBe(true);
    expect(stats.isDirectory()).toBe(false);
    expect(stats.isSymbolicLink()).toBe(false);
    expect(stats.isFIFO()).toBe(false);
    expect(stats.isSocket()).toBe(false);
    expect(stats.isBlockDevice()).toBe(false);
    expect(stats.isCharacterDevice()).toBe(false);
    expect(stats.mode).toBe(0o100644);
    expect(stats.size).toBe(5);
    expect(stats.nlink).toBe(1);
    expect(stats.blksize).toBeGreaterThan(0);
    expect(stats.ino).toBeGreaterThan(0);
    expect(typeof stats.dev).toBe('number');
    expect(typeof stats.rdev).toBe('number');
    expect(stats.mtime).toBeInstanceOf(Date);
    expect(Math.abs(stats.mtimeMs - before)).toBeLessThan(60_000);
    expect(stats.mtime.getTime()).toBe(Math.round(stats.mtimeMs));
    expect(stats.birthtimeMs).toBeGreaterThan(0);
    // Platform luck: since Node 22 the dates are accessors of the prototype, not properties of their own.
    const dates = ['atime', 'mtime', 'ctime', 'birthtime'] as const;
    for (const date of dates) expect(stats[date]).toBeInstanceOf(Date);
    expect(Object.keys(stats).filter((key) => !(dates as readonly string[]).includes(key))).toEqual([
      'dev',
      'mode',
      'nlink',
      'uid',
      'gid',
      'rdev',
      'blksize',
      'ino',
      'size',
      'blocks',
      'atimeMs',
      'mtimeMs',
      'ctimeMs',
      'birthtimeMs',
    ]);
  });

  test('stat with bigints', async () => {
    const [small, big] = [await place.fs.stat(file), await place.fs.stat(file, { bigint: true })];
    expect(big.size).toBe(5n);
    expect(big.mode).toBe(0o100644n);
    expect(Number(big.ino)).toBe(small.ino);
    expect(big.mtimeNs / 1_000_000n).toBe(big.mtimeMs);
    expect(Number(big.mtimeMs)).toBe(Math.floor(small.mtimeMs));
    expect(big.isFile()).toBe(true);
    expect(typeof big.birthtimeNs).toBe('bigint');
  });

  test('stat follows, lstat does not', async () => {
    const { fs, path } = place;
    expect((await fs.stat(path('link'))).ino).toBe((await fs.stat(file)).ino);
    const link = await fs.lstat(path('link'));
    expect(link.isSymbolicLink()).toBe(true);
    expect(link.size).toBe(4);
    expect(link.mode & 0o170000).toBe(0o120000);
    expect((await fs.lstat(path('link'), { bigint: true })).isSymbolicLink()).toBe(true);
    expect((await fs.stat(path('dir'))).isDirectory()).toBe(true);
    expect((await fs.stat(path('dir'))).mode).toBe(0o040755);
    await fails(fs.lstat(path('none')), 'ENOENT', 'lstat', path('none'));
  });

  test('access', async () => {
    const { fs, path } = place;
    expect(await fs.access(file)).toBe(undefined);
    expect(await fs.access(file, constants.R_OK | constants.W_OK)).toBe(undefined);
    expect(await fs.access(path('dir'), constants.X_OK)).toBe(undefined);
    expect(await fs.access(path('link'), constants.R_OK)).toBe(undefined);
    await fails(fs.access(file, constants.X_OK), 'EACCES', 'access', file);
    await fails(fs.access(path('none')), 'ENOENT', 'access', path('none'));
    await fails(fs.access(`${file}/x`), 'ENOTDIR', 'access', `${file}/x`);
    await refuses(() => fs.access(file, 99), 'ERR_OUT_OF_RANGE', RangeError, 'mode is out of range: >= 0 && <= 7');
    await refuses(() => fs.access(file, 'r' as unknown as number), 'ERR_INVALID_ARG_TYPE');
  });

  test.each<[number | string, number]>([
    [0o600, 0o600],
    ['755', 0o755],
    [0, 0],
    [0o1777, 0o1777],
    [0o2755, 0o2755],
    [0o4711, 0o4711],
  ])('chmod %s', async (mode, bits) => {
    await place.fs.chmod(file, mode);
    expect((await place.fs.stat(file)).mode).toBe(0o100000 | bits);
    await place.fs.chmod(file, 0o644);
  });

  test('chmod follows, and refuses what is no mode', async () => {
    const { fs, path } = place;
    await fs.chmod(path('link'), 0o640);
    expect((await fs.stat(file)).mode & 0o777).toBe(0o640);
    await fails(fs.chmod(path('none'), 0o600), 'ENOENT', 'chmod', path('none'));
    await refuses(() => fs.chmod(file, 'zz'), 'ERR_INVALID_ARG_VALUE');
    await refuses(() => fs.chmod(file, undefined as unknown as number), 'ERR_INVALID_ARG_TYPE');
  });

  test('chown and lchown', async () => {
    const { fs, path } = place;
    const { uid, gid } = await fs.stat(file);
    await fs.chown(file, uid, gid);
    await fs.chown(file, -1, -1);
    expect((await fs.stat(file)).uid).toBe(uid);
    if (place.limits.chown && process.geteuid?.() === 0) {
      await fs.chown(path('link'), 11, 22);
      expect([(await fs.stat(file)).uid, (await fs.stat(file)).gid]).toEqual([11, 22]);
      await fs.chown(file, -1, 33);
      expect([(await fs.stat(file)).uid, (await fs.stat(file)).gid]).toEqual([11, 33]);
      await fs.lchown(path('link'), 44, 55);
      expect([(await fs.lstat(path('link'))).uid, (await fs.lstat(path('link'))).gid]).toEqual([44, 55]);
      expect((await fs.stat(file)).uid).toBe(11);
    }
    await fails(fs.chown(path('none'), 1, 1), 'ENOENT', 'chown', path('none'));
    await fails(fs.lchown(path('none'), 1, 1), 'ENOENT', 'lchown', path('none'));
    await refuses(
      () => fs.chown(file, -2, 1),
      'ERR_OUT_OF_RANGE',
      RangeError,
      'The value of "uid" is out of range. It must be >= -1 && <= 4294967295. Received -2',
    );
    await refuses(() => fs.chown(file, 'me' as unknown as number, 1), 'ERR_INVALID_ARG_TYPE');
  });

  test('times', async () => {
    const { fs, path } = place;
    await fs.utimes(file, 1000, 2000);
    expect([(await fs.stat(file)).atimeMs, (await fs.stat(file)).mtimeMs]).toEqual([1_000_000, 2_000_000]);
    await fs.utimes(path('link'), 3000.25, '4000.5');
    expect([(await fs.stat(file)).atimeMs, (await fs.stat(file)).mtimeMs]).toEqual([3_000_250, 4_000_500]);
    await fs.utimes(file, new Date(5_000_123), new Date('2020-01-02T03:04:05.678Z'));
    expect((await fs.stat(file)).atime.getTime()).toBe(5_000_123);
    expect((await fs.stat(file)).mtime.toISOString()).toBe('2020-01-02T03:04:05.678Z');
    await fs.utimes(file, 1.000001, 4_294_967_299);
    // Seconds are a double: the last microsecond is luck, and Node's differs from version to version.
    expect(Math.abs(Number((await fs.stat(file, { bigint: true })).atimeNs) - 1_000_001_000)).toBeLessThanOrEqual(1000);
    // Not every disk keeps times after 2106: ext4 with small inodes stops in 2038.
    expect((await fs.stat(file)).mtimeMs).toBeGreaterThan(2_147_000_000_000);
    await fails(fs.utimes(path('none'), 1, 1), 'ENOENT', 'utime', path('none'));
    await refuses(() => fs.utimes(file, 'x', 1), 'ERR_INVALID_ARG_TYPE');
    await refuses(() => fs.utimes(file, {} as unknown as number, 1), 'ERR_INVALID_ARG_TYPE');
  });

  test('times of a symlink', async () => {
    const { fs, path } = place;
    if (place.limits.lutimes) {
      await fs.lutimes(path('link'), 1000, 2000);
      expect((await fs.lstat(path('link'))).mtimeMs).toBe(2_000_000);
      expect((await fs.stat(file)).mtimeMs).not.toBe(2_000_000);
    }
    await fs.lutimes(file, 7, 8);
    expect((await fs.stat(file)).mtimeMs).toBe(8000);
    await fails(fs.lutimes(path('none'), 1, 1), 'ENOENT', 'lutime', path('none'));
  });

  test('statfs', async () => {
    const { fs, path } = place;
    const stats = await fs.statfs(file);
    // Platform luck: Node 24 adds frsize, for which Rstatfs has no field.
    const keys = Object.keys(stats).filter((key) => key !== 'frsize');
    expect(keys.sort()).toEqual(['bavail', 'bfree', 'blocks', 'bsize', 'ffree', 'files', 'type']);
    expect(stats.bsize).toBeGreaterThan(0);
    expect(stats.blocks).toBeGreaterThanOrEqual(stats.bfree);
    const big = await fs.statfs(path(), { bigint: true });
    expect(typeof big.blocks).toBe('bigint');
    expect(big.bsize).toBe(BigInt(stats.bsize));
    await fails(fs.statfs(path('none')), 'ENOENT', 'statfs', path('none'));
  });
}

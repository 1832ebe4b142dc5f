import { createHash, randomFillSync } from 'node:crypto';
import { Readable } from 'node:stream';
import { beforeEach, expect, test } from 'vitest';
import type { Place } from '../fs.js';
import { fails, refuses, rejection } from './errors.js';

const digest = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

/** Whole files: readFile, writeFile, appendFile, copyFile, truncate. */
export function content(at: () => Place): void {
  let place: Place;
  beforeEach(() => {
    place = at();
  });

  test.each([0, 1, 4095, 4096, 65511, 65512, 65513, 65536, 131024, 1 << 20, 3_000_001])('%i bytes come back as they went', async (size) => {
    const { fs, path } = place;
    const data = randomFillSync(Buffer.alloc(size));
    await fs.writeFile(path('f'), data);
    const back = await fs.readFile(path('f'));
    expect(back.length).toBe(size);
    expect(digest(back)).toBe(digest(data));
    expect((await fs.stat(path('f'))).size).toBe(size);
  });

  test.each<[string, unknown, string]>([
    ['text', 'tëxt', 'tëxt'],
    ['a Buffer', Buffer.from('buffer'), 'buffer'],
    ['a Uint8Array', new Uint8Array([65, 66]), 'AB'],
    ['a view of other numbers', new Uint16Array([0x4241, 0x4443]), 'ABCD'],
    ['a DataView', new DataView(new Uint8Array([88, 65, 66, 88]).buffer, 1, 2), 'AB'],
    ['an iterable', ['a', 'b', Buffer.from('c')], 'abc'],
    ['a stream', Readable.from(['x', 'yz']), 'xyz'],
    [
      'an async iterable',
      (async function* () {
        yield 'one ';
        yield 'two';
      })(),
      'one two',
    ],
  ])('writeFile takes %s', async (_, data, text) => {
    const { fs, path } = place;
    await fs.writeFile(path('f'), data as string);
    expect(await fs.readFile(path('f'), 'utf8')).toBe(text);
  });

  test.each([3, undefined, null, true, {}])('writeFile refuses %s', async (data) => {
    const { fs, path } = place;
    await refuses(() => fs.writeFile(path('f'), data as unknown as string), 'ERR_INVALID_ARG_TYPE');
    await fails(fs.stat(path('f')), 'ENOENT', 'stat', path('f'));
  });

  test('encodings', async () => {
    const { fs, path } = place;
    await fs.writeFile(path('f'), '68656c6c6f', 'hex');
    expect(await fs.readFile(path('f'), 'utf8')).toBe('hello');
    expect(await fs.readFile(path('f'), 'base64')).toBe('aGVsbG8=');
    expect(await fs.readFile(path('f'), { encoding: 'latin1' })).toBe('hello');
    expect(await fs.readFile(path('f'), { encoding: null })).toEqual(Buffer.from('hello'));
    expect(await fs.readFile(path('f'), null)).toEqual(Buffer.from('hello'));
    await fs.writeFile(path('f'), 'é', { encoding: 'utf16le' });
    expect(await fs.readFile(path('f'), 'utf16le')).toBe('é');
    await refuses(
      () => fs.readFile(path('f'), 'nope' as BufferEncoding),
      'ERR_INVALID_ARG_VALUE',
      TypeError,
      "The argument 'encoding' is invalid encoding. Received 'nope'",
    );
  });

  test('writeFile replaces, with flags it does what they say', async () => {
    const { fs, path } = place;
    await fs.writeFile(path('f'), 'long content');
    await fs.writeFile(path('f'), 'short');
    expect(await fs.readFile(path('f'), 'utf8')).toBe('short');
    await fs.writeFile(path('f'), '++', { flag: 'a' });
    expect(await fs.readFile(path('f'), 'utf8')).toBe('short++');
    await fs.writeFile(path('f'), 'XX', { flag: 'r+' });
    expect(await fs.readFile(path('f'), 'utf8')).toBe('XXort++');
    await fails(fs.writeFile(path('f'), '', { flag: 'wx' }), 'EEXIST', 'open', path('f'));
    await fails(fs.readFile(path('g')), 'ENOENT', 'open', path('g'));
    expect(await fs.readFile(path('g'), { encoding: 'utf8', flag: 'w+' })).toBe('');
    expect((await fs.stat(path('g'))).size).toBe(0);
  });

  test('writeFile gives a new file its mode, and leaves an old one as it is', async () => {
    const { fs, path } = place;
    await fs.writeFile(path('f'), '', { mode: 0o600 });
    expect((await fs.stat(path('f'))).mode & 0o777).toBe(0o600);
    await fs.writeFile(path('f'), '', { mode: 0o644 });
    expect((await fs.stat(path('f'))).mode & 0o777).toBe(0o600);
    await fs.writeFile(path('g'), 'flushed', { flush: true });
    expect(await fs.readFile(path('g'), 'utf8')).toBe('flushed');
  });

  test('appendFile', async () => {
    const { fs, path } = place;
    await fs.appendFile(path('f'), 'one');
    await fs.appendFile(path('f'), Buffer.from('two'));
    await fs.appendFile(path('f'), '33', { encoding: 'hex' });
    expect(await fs.readFile(path('f'), 'utf8')).toBe('onetwo3');
    await fails(fs.appendFile(path('no/f'), ''), 'ENOENT', 'open', path('no/f'));
  });

  test('a signal that was aborted ends it before it begins', async () => {
    const { fs, path } = place;
    await fs.writeFile(path('f'), 'kept');
    const signal = AbortSignal.abort(new Error('why'));
    for (const promise of [fs.readFile(path('f'), { signal }), fs.writeFile(path('f'), 'x', { signal })]) {
      const error = await rejection(promise);
      expect(error.name).toBe('AbortError');
      expect(error.code).toBe('ABORT_ERR');
      expect(error.message).toBe('The operation was aborted');
      expect(error.cause).toEqual(new Error('why'));
    }
    expect(await fs.readFile(path('f'), 'utf8')).toBe('kept');
  });

  test('truncate', async () => {
    const { fs, path } = place;
    await fs.writeFile(path('f'), '0123456789');
    await fs.truncate(path('f'), 4);
    expect(await fs.readFile(path('f'), 'utf8')).toBe('0123');
    await fs.truncate(path('f'), 6);
    expect(await fs.readFile(path('f'))).toEqual(Buffer.from('0123\0\0'));
    await fs.truncate(path('f'), -5);
    expect((await fs.stat(path('f'))).size).toBe(0);
    await fs.truncate(path('f'), 5_000_000_000);
    expect((await fs.stat(path('f'))).size).toBe(5_000_000_000);
    await fs.truncate(path('f'));
    expect((await fs.stat(path('f'))).size).toBe(0);
    await fails(fs.truncate(path('none')), 'ENOENT', 'open', path('none'));
    await fails(fs.truncate(path()), 'EISDIR', 'open', path());
  });

  test('copyFile', async () => {
    const { fs, path } = place;
    const data = randomFillSync(Buffer.alloc(1_500_000));
    await fs.writeFile(path('from'), data, { mode: 0o640 });
    await fs.copyFile(path('from'), path('to'));
    expect(digest(await fs.readFile(path('to')))).toBe(digest(data));
    expect((await fs.stat(path('to'))).mode & 0o777).toBe(0o640);
    await fs.writeFile(path('short'), 's');
    await fs.copyFile(path('short'), path('to'));
    expect(await fs.readFile(path('to'), 'utf8')).toBe('s');
    await fs.copyFile(path('to'), path('to'));
    expect(await fs.readFile(path('to'), 'utf8')).toBe('s');
    await fs.symlink('from', path('link'));
    await fs.copyFile(path('link'), path('plain'));
    expect((await fs.lstat(path('plain'))).isFile()).toBe(true);
    await fs.copyFile(path('short'), path('fresh'), fs.constants.COPYFILE_EXCL);
    expect(await fs.readFile(path('fresh'), 'utf8')).toBe('s');
    await fails(fs.copyFile(path('short'), path('to'), fs.constants.COPYFILE_EXCL), 'EEXIST', 'copyfile', path('short'), path('to'));
    await fails(fs.copyFile(path('none'), path('x')), 'ENOENT', 'copyfile', path('none'), path('x'));
    await fails(fs.copyFile(path('short'), path('no/x')), 'ENOENT', 'copyfile', path('short'), path('no/x'));
    await fails(fs.copyFile(path('short'), path()), 'EISDIR', 'copyfile', path('short'), path());
  });

  test('many files at once', async () => {
    const { fs, path } = place;
    const names = Array.from({ length: 100 }, (_, index) => `f${index}`);
    await Promise.all(names.map((name) => fs.writeFile(path(name), name)));
    expect(await Promise.all(names.map((name) => fs.readFile(path(name), 'utf8')))).toEqual(names);
    expect((await fs.readdir(path())).length).toBe(100);
  });
}

import { closeSync, linkSync, mkdirSync, openSync, renameSync, rmdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findsUntold } from '../../lib/sys/iflags.js';
import {
  EVENT_MAX,
  eachEvent,
  endWatch,
  IN_CREATE,
  IN_DELETE_SELF,
  IN_IGNORED,
  IN_MOVED_TO,
  IN_Q_OVERFLOW,
  inotify,
  watchNames,
} from '../../lib/sys/inotify.js';
import { close, EAGAIN, read } from '../../lib/sys/io.js';
import { TemporaryDirectory } from '../support/temporary.js';

let root: TemporaryDirectory;
let queue: number;
const opened: number[] = [];

beforeEach(() => {
  root = new TemporaryDirectory('inotify');
  queue = inotify();
});

afterEach(() => {
  close(queue);
  for (const fd of opened.splice(0)) closeSync(fd);
  root.remove();
});

function directory(name: string): number {
  mkdirSync(root.join(name), { recursive: true });
  const fd = openSync(root.join(name), 'r');
  opened.push(fd);
  return fd;
}

/** What is in the queue, read `size` bytes at a time. */
function events(size = 16 * EVENT_MAX): [number, number, string][] {
  const all: [number, number, string][] = [];
  const buffer = Buffer.alloc(size);
  for (;;) {
    const length = read(queue, buffer);
    if (length === EAGAIN) return all;
    expect(length).toBeGreaterThan(0);
    eachEvent(buffer, length, (watch, mask, start, end) => all.push([watch, mask & 0xffff, buffer.toString('latin1', start, end)]));
  }
}

test('whatever gives a directory a name is told by the name, before it returns; what takes one away is not', () => {
  const watch = watchNames(queue, directory('d'));
  expect(watch).toBeGreaterThan(0);
  writeFileSync(root.join('d/file'), '');
  mkdirSync(root.join('d/dir'));
  symlinkSync('x', root.join('d/link'));
  linkSync(root.join('d/file'), root.join('d/second'));
  writeFileSync(root.join('outside'), '');
  renameSync(root.join('outside'), root.join('d/moved'));
  renameSync(root.join('d/moved'), root.join('d/renamed'));
  rmSync(root.join('d/file'));
  writeFileSync(root.join('d/file'), '');
  const long = 'n'.repeat(255);
  writeFileSync(root.join(`d/${long}`), '');
  const expected = [
    ...['file', 'dir', 'link', 'second'].map((name) => [watch, IN_CREATE, name]),
    ...['moved', 'renamed'].map((name) => [watch, IN_MOVED_TO, name]),
    ...['file', long].map((name) => [watch, IN_CREATE, name]),
  ];
  expect(events()).toEqual(expected);
  expect(events()).toEqual([]);
});

test('a buffer of one event is enough', () => {
  const watch = watchNames(queue, directory('d'));
  const names = Array.from({ length: 50 }, (_, index) => 'x'.repeat(1 + index * 5));
  for (const name of names) writeFileSync(root.join(`d/${name}`), '');
  expect(events(EVENT_MAX)).toEqual(names.map((name) => [watch, IN_CREATE, name]));
});

test('one directory has one number, others have others, and one that is gone or no longer watched tells so', () => {
  const one = directory('one');
  const watch = watchNames(queue, one);
  expect(watchNames(queue, one)).toBe(watch);
  const other = watchNames(queue, directory('other'));
  expect(other).not.toBe(watch);
  closeSync(opened.pop() ?? -1);
  rmdirSync(root.join('other'));
  expect(events()).toEqual([
    [other, IN_DELETE_SELF, ''],
    [other, IN_IGNORED, ''],
  ]);
  endWatch(queue, watch);
  writeFileSync(root.join('one/f'), '');
  expect(events()).toEqual([[watch, IN_IGNORED, '']]);
});

test('only directories are watched', () => {
  writeFileSync(root.join('file'), '');
  const fd = openSync(root.join('file'), 'r');
  opened.push(fd);
  expect(watchNames(queue, fd)).toBe(-20);
});

test('a queue that is full says so', () => {
  directory('d');
  watchNames(queue, opened[0] ?? -1);
  const [one, other] = [root.join('d/one'), root.join('d/other')];
  writeFileSync(one, '');
  for (let n = 0; n < 8500; n++) {
    renameSync(one, other);
    renameSync(other, one);
  }
  const last = events().pop();
  expect(last).toEqual([-1, IN_Q_OVERFLOW, '']);
});

test('a directory in which names are what is told says so', () => {
  expect(findsUntold(directory('d'))).toBe(false);
});

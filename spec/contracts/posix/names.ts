/** Names are bytes: whatever they are, and however they look, they come back (POSIX XBD 4.8, pathname(7)). */
import fs from 'node:fs';
import path from 'node:path';
import { type Group, O, ordinary, type Test } from './test.js';

/** A name, NUL-terminated, in `directory`. */
function at(directory: string, name: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${directory}/`), name, Buffer.from([0])]);
}

function listed(directory: string): string[] {
  return fs
    .readdirSync(directory, { encoding: 'buffer' })
    .map((name) => name.toString('hex'))
    .sort();
}

const names: readonly [what: string, name: Buffer][] = [
  ['a byte that begins nothing', Buffer.from([0xff])],
  ['a continuation without a beginning', Buffer.from([0x61, 0x80, 0x62])],
  ['a beginning without continuation', Buffer.from([0xc3])],
  ['an overlong slash', Buffer.from([0xc0, 0xaf])],
  ['half of a pair of surrogates', Buffer.from([0xed, 0xa0, 0x80])],
  ['beyond Unicode', Buffer.from([0xf5, 0x80, 0x80, 0x80])],
  ['latin-1', Buffer.from('M\u00fcnchen', 'latin1')],
  ['the replacement character itself', Buffer.from('\ufffd')],
  ['a byte order mark', Buffer.from([0xef, 0xbb, 0xbf, 0x61])],
  ['every byte but NUL and slash', Buffer.from(Array.from({ length: 255 }, (_, n) => n + 1).filter((byte) => byte !== 0x2f))],
  ['255 bytes that are no UTF-8', Buffer.alloc(255, 0xfe)],
];

const bytes = ordinary('names: bytes that are no UTF-8', (t) => {
  for (const [what, name] of names) {
    t.under(what, () => {
      const directory = t.dir();
      const fd = t.sys.open(at(directory, name), O.CREAT | O.EXCL | O.WRONLY, 0o644);
      t.opens('made', fd, 'ok');
      t.equal('listed', listed(directory).join(), name.toString('hex'));
      t.equal('found', t.stat(at(directory, name)).type, 'regular');
      const moved = Buffer.concat([Buffer.from([0xfe]), name.subarray(0, 200)]);
      t.gives('renamed', t.sys.rename(at(directory, name), at(directory, moved)), 'ok');
      t.equal('listed under its new name', listed(directory).join(), moved.toString('hex'));
      t.gives('linked', t.sys.link(at(directory, moved), at(directory, name)), 'ok');
      t.equal(
        'two names',
        listed(directory).join(),
        [name, moved]
          .map((each) => each.toString('hex'))
          .sort()
          .join(),
      );
      t.gives('removed', t.sys.unlink(at(directory, name)), 'ok');
      t.gives('a directory', t.sys.mkdir(at(directory, name), 0o755), 'ok');
      t.gives('a name in it', t.sys.mkdir(Buffer.concat([at(directory, name).subarray(0, -1), at('', name)]), 0o755), 'ok');
      t.gives('removed from it', t.sys.rmdir(Buffer.concat([at(directory, name).subarray(0, -1), at('', name)])), 'ok');
      t.gives('the directory removed', t.sys.rmdir(at(directory, name)), 'ok');
      const target = Buffer.concat([name, Buffer.from([0])]);
      t.gives('the target of a symbolic link', t.sys.symlink(target, path.join(directory, 'link')), 'ok');
      const b = Buffer.alloc(300);
      const size = t.sys.readlink(path.join(directory, 'link'), b, b.length);
      t.bytes('is read back', b.subarray(0, Math.max(size, 0)), name);
    });
  }
});

const distinct = ordinary('names: what looks alike is not the same', (t) => {
  const alike: readonly (readonly string[])[] = [
    ['a', 'A'],
    ['\u00e9', 'e\u0301'],
    ['\u00df', 'ss', 'SS'],
    ['x', 'x '],
    ['x.', 'x'],
    ['\u212b', '\u00c5', 'A\u030a'],
    ['i', '\u0131', '\u0130'],
    ['.a', '..a', '...'],
    ['a\\b', 'a', 'b'],
  ];
  for (const group of alike) {
    const directory = t.dir();
    for (const name of group) makeWith(t, path.join(directory, name), name);
    for (const name of group) t.content(`${JSON.stringify(name)} beside ${JSON.stringify(group)}`, path.join(directory, name), name);
    t.equal(`${group.length} names of ${JSON.stringify(group)}`, fs.readdirSync(directory).length, group.length);
  }
});

function makeWith(t: Test, name: string, content: string): void {
  const fd = t.must('open', t.sys.open(name, O.CREAT | O.EXCL | O.WRONLY, 0o644));
  const b = Buffer.from(content);
  t.must('write', t.sys.write(fd, b, b.length));
  t.real.close(fd);
}

export const namesGroups: readonly Group[] = [bytes, distinct];

import type { BigIntStats, Stats } from 'node:fs';
import * as node from 'node:fs/promises';
import { decodeText, textToBytes } from '../../lib/protocol/index.js';
import type { Files } from './place.js';

/**
 * The files of this host. A name on Linux is any bytes, of which Node's strings keep only those that are UTF-8; here the others are lone
 * surrogates, as on the 9P side, so that a name is the same file on both sides of a copy.
 */
export const localFs: Files = {
  open: (path, flags, mode) => node.open(native(path), flags, mode),
  stat: told(node.stat),
  lstat: told(node.lstat),
  statfs: (path, options) => node.statfs(native(path), options),
  readdir: async (path) => (await node.readdir(native(path), { encoding: 'buffer' })).map((name) => decodeText(name)),
  readlink: async (path) => decodeText(await node.readlink(native(path), { encoding: 'buffer' })),
  mkdir: (path, options) => node.mkdir(native(path), options),
  symlink: (target, path) => node.symlink(native(target), native(path)),
  link: (path, name) => node.link(native(path), native(name)),
  rename: (from, to) => node.rename(native(from), native(to)),
  unlink: (path) => node.unlink(native(path)),
  rmdir: (path) => node.rmdir(native(path)),
  rm: (path, options) => node.rm(native(path), options),
  chmod: (path, mode) => node.chmod(native(path), mode),
  chown: (path, uid, gid) => node.chown(native(path), uid, gid),
  lchown: (path, uid, gid) => node.lchown(native(path), uid, gid),
  utimes: (path, atime, mtime) => node.utimes(native(path), atime, mtime),
  lutimes: (path, atime, mtime) => node.lutimes(native(path), atime, mtime),
};

/** A path for Node: as bytes where its strings would lose some. */
function native(path: string): string | Buffer {
  return /[\ud800-\udfff]/.test(path) ? Buffer.from(textToBytes(path)) : path;
}

function told(ask: typeof node.stat | typeof node.lstat): Files['stat'] {
  function answer(path: string): Promise<Stats>;
  function answer(path: string, options: { bigint: true }): Promise<BigIntStats>;
  function answer(path: string, options?: { bigint: true }): Promise<Stats | BigIntStats> {
    return ask(native(path), options);
  }
  return answer;
}

import type * as NodeFs from 'node:fs';
import type * as NodePromises from 'node:fs/promises';
import type git from 'isomorphic-git';
import type { CallbackFs, FileHandle, FileSystem } from '../../lib/fs/index.js';
import type { Fs } from '../contracts/fs.js';

// What is held to here is held to by the compiler: `npm run check` fails where one of these is not assignable.

/** All of `node:fs/promises` but what 9P or Linux has no use for. */
type Promised = Omit<typeof NodePromises, 'lchmod'>;

export const asPromises = (fs: FileSystem): Promised => fs;
export const asContract = (fs: FileSystem): Fs => fs;
export const asHandle = (handle: FileHandle): NodePromises.FileHandle => handle;
export const asCallbacks = (
  fs: CallbackFs,
): Pick<typeof NodeFs, 'readFile' | 'writeFile' | 'lstat' | 'stat' | 'readdir' | 'open' | 'read'> => fs;
export const asGit = (fs: FileSystem): Parameters<typeof git.init>[0]['fs'] => fs;
export const asStream = (fs: FileSystem): NodeFs.ReadStream => fs.createReadStream('/');
export const asWriteStream = (fs: FileSystem): NodeFs.WriteStream => fs.createWriteStream('/');

export async function results(fs: FileSystem): Promise<void> {
  const text: string = await fs.readFile('/', 'utf8');
  const bytes: Buffer = await fs.readFile('/');
  const size: number = (await fs.stat('/')).size;
  const big: bigint = (await fs.stat('/', { bigint: true })).size;
  const names: string[] = await fs.readdir('/');
  const entries: NodeFs.Dirent[] = await fs.readdir('/', { withFileTypes: true });
  const buffers: Buffer[] = await fs.readdir('/', 'buffer');
  const made: string | undefined = await fs.mkdir('/', { recursive: true });
  void [text, bytes, size, big, names, entries, buffers, made];
}

import { constants, type PathLike } from 'node:fs';
import type * as NodePromises from 'node:fs/promises';
import type { Client } from '../client/client.js';
import { type ClientOptions, connect } from '../client/connect.js';
import { Context, type FileSystemOptions } from './context.js';
import { copy } from './copy.js';
import { files } from './files.js';
import type { FileHandle } from './handle.js';
import { listing } from './listing.js';
import { metadata } from './metadata.js';
import { names } from './names.js';
import { remove } from './remove.js';
import { watching } from './watch.js';

type Node = typeof NodePromises;

/** The names that this has in common with `node:fs/promises`. */
export type NodeNames =
  | 'access'
  | 'appendFile'
  | 'chmod'
  | 'chown'
  | 'constants'
  | 'copyFile'
  | 'cp'
  | 'lchown'
  | 'link'
  | 'lstat'
  | 'lutimes'
  | 'mkdir'
  | 'mkdtemp'
  | 'opendir'
  | 'readFile'
  | 'readdir'
  | 'readlink'
  | 'realpath'
  | 'rename'
  | 'rm'
  | 'rmdir'
  | 'stat'
  | 'statfs'
  | 'symlink'
  | 'truncate'
  | 'unlink'
  | 'utimes'
  | 'watch'
  | 'writeFile';

type Own = Pick<ReturnType<typeof metadata>, 'qid' | 'getxattr' | 'setxattr' | 'listxattr' | 'removexattr' | 'getacl' | 'setacl'> &
  Pick<ReturnType<typeof names>, 'mknod' | 'mkfifo'> &
  Pick<ReturnType<typeof files>, 'createReadStream' | 'createWriteStream'>;

/** What `mkdtempDisposable` gives. */
export interface DisposableTempDirectory extends AsyncDisposable {
  readonly path: string;
  /** Removes the directory and all in it; what is gone already is no failure. */
  remove(): Promise<void>;
}

/**
 * `node:fs/promises` over 9P: the same functions with the same arguments, results and errors, bound, so that they can be handed around
 * one by one. Paths begin at the attached root, relative ones too. Wherever there are options they also take `signal` and `timeout`;
 * `with({ signal })` gives them to all.
 */
export interface FileSystem extends Pick<Node, NodeNames>, Own, AsyncDisposable {
  open(path: PathLike, flags?: string | number, mode?: string | number | null): Promise<FileHandle>;
  /** A directory that is removed with all in it when it is disposed of (Node has it from 24.4). */
  mkdtempDisposable(prefix: PathLike): Promise<DisposableTempDirectory>;
  /** What it speaks through. */
  readonly client: Client;
  /** The same tree by other options: another user's umask, a signal for all its requests. What is open belongs to both. */
  with(options: Omit<FileSystemOptions, 'root'>): FileSystem;
  /** Closes what is open; and the client, if `openFs` made it, which then bounds how long a silent server is waited for (`Client.close`). Idempotent. */
  close(): Promise<void>;
}

/** Files over a client that stays the caller's. */
export function fileSystem(client: Client, options: FileSystemOptions = {}): FileSystem {
  return assemble(new Context(client, options), false);
}

/**
 * Connects to a 9P server and gives its tree the shape of `node:fs/promises`.
 *
 * ```ts
 * await using fs = await openFs('tcp://127.0.0.1/srv/data');
 * await fs.writeFile('/hello.txt', 'hello');
 * for await (const line of (await fs.open('/hello.txt')).readLines()) console.log(line);
 * ```
 *
 * Rejects as `connect` does.
 */
export async function openFs(address: string, options: ClientOptions & FileSystemOptions = {}): Promise<FileSystem> {
  // The signal ends the connecting; whoever wants one for every request says `with`.
  const { signal, timeout, root, umask, gid, maxOpen, ...rest } = options;
  const client = await connect(address, { ...rest, signal, timeout });
  return assemble(new Context(client, { root, umask, gid, maxOpen, uid: options.uid }), true);
}

function assemble(context: Context, owned: boolean): FileSystem {
  const { client } = context;
  const tree = {
    ...metadata(context),
    ...files(context),
    ...names(context),
    ...listing(context),
    ...remove(context),
  };
  const mkdtempDisposable = async (prefix: PathLike): Promise<DisposableTempDirectory> => {
    const path = String(await tree.mkdtemp(prefix));
    const drop = (): Promise<void> => tree.rm(path, { recursive: true, force: true });
    return { path, remove: drop, [Symbol.asyncDispose]: drop };
  };
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closing ??= (async () => {
      try {
        await (owned ? client.part(context.closeAll()) : context.closeAll());
      } finally {
        if (owned) await client.close();
      }
    })();
    return closing;
  };
  const fs = {
    ...tree,
    ...copy(context, tree),
    ...watching(context, tree),
    mkdtempDisposable,
    constants,
    client,
    with: (options: Omit<FileSystemOptions, 'root'>) => assemble(context.with(options), owned),
    close,
    [Symbol.asyncDispose]: close,
  };
  return fs as FileSystem;
}

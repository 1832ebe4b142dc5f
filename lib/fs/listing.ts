import type { OpenDirOptions, PathLike } from 'node:fs';
import type { RequestOptions } from '../client/verbs.js';
import { DT_DIR } from '../protocol/constants.js';
import { encodingOf, named, optionsOf, requestOf } from './arguments.js';
import type { Context } from './context.js';
import { Dir } from './dir.js';
import { Dirent } from './dirent.js';
import { inParallel, listEntries, openDirectory } from './entries.js';
import { told } from './errors.js';
import { below, checkLength, toPath } from './path.js';
import { Walker } from './walk.js';

/** Directories of one recursive listing that are read at the same time. */
const PARALLEL = 8;

export interface ReaddirOptions extends RequestOptions {
  encoding?: BufferEncoding | 'buffer' | null | undefined;
  withFileTypes?: boolean | undefined;
  recursive?: boolean | undefined;
}

/** What lists directories. */
export function listing(context: Context) {
  const walker = new Walker(context);

  async function readdir(given: PathLike, options?: ReaddirOptions | BufferEncoding | 'buffer' | null) {
    const root = toPath(given);
    const { withFileTypes = false, recursive = false } = optionsOf<ReaddirOptions>(options);
    const encoding = encodingOf(options);
    const request = requestOf(options, context.request);
    const results: (string | Buffer | Dirent<string | Buffer>)[] = [];

    const top = await told({ syscall: 'scandir', path: root }, async () => {
      const { fid } = await walker.find(root, { follow: true, request });
      return openDirectory(context, fid, request);
    });
    const pending: { names: readonly string[] }[] = [{ names: [] }];
    // Everything below is reached from the top by names alone, so no symlink leads out, and none is followed.
    const read = async ({ names }: { names: readonly string[] }): Promise<void> => {
      const path = names.reduce(below, root);
      await told({ syscall: 'scandir', path }, async () => {
        checkLength(path);
        const fid = names.length === 0 ? top : await openDirectory(context, await top.walk(names, request), request);
        try {
          for (const { name, type } of await listEntries(fid, withFileTypes || recursive, request)) {
            if (withFileTypes) results.push(new Dirent(named(name, encoding), type, path));
            else results.push(named([...names, name].join('/'), encoding));
            if (recursive && type === DT_DIR) pending.push({ names: [...names, name] });
          }
        } finally {
          if (fid !== top) context.release(fid);
        }
      });
    };
    await context.using(top, () => inParallel(pending, PARALLEL, read));
    return results;
  }

  return {
    readdir,

    /** `bufferSize` means nothing here: a message holds what msize allows. */
    async opendir(given: PathLike, options?: (OpenDirOptions & RequestOptions) | BufferEncoding | null): Promise<Dir> {
      const path = toPath(given);
      const settings = optionsOf<OpenDirOptions & RequestOptions>(options);
      const request = requestOf(settings, context.request);
      return told({ syscall: 'opendir', path }, async () => {
        context.checkRoom();
        const { fid } = await walker.find(path, { follow: true, request });
        const opened = await openDirectory(context, fid, request);
        return new Dir(context, opened, path, { recursive: settings.recursive, encoding: encodingOf(options), request });
      });
    },
  };
}

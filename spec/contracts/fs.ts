import type * as NodePromises from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest';
import { content } from './fs/content.js';
import { directories } from './fs/directories.js';
import { handles } from './fs/handles.js';
import { links } from './fs/links.js';
import { metadata } from './fs/metadata.js';
import { names } from './fs/names.js';
import { opening } from './fs/opening.js';
import { paths } from './fs/paths.js';
import { streams } from './fs/streams.js';
import { trees } from './fs/trees.js';

/** The part of `node:fs/promises` that is held against the suite. */
export type Fs = Pick<
  typeof NodePromises,
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
  | 'open'
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
  | 'writeFile'
>;

export interface Subject extends AsyncDisposable {
  readonly fs: Fs;
  /** An empty directory that the suite may fill. */
  readonly base: string;
  /** Throws if something is still open that the suite opened. */
  settled?(): Promise<void>;
}

/** What a subject cannot do for reasons that are not its own. */
export interface Limits {
  /** Owners are what they were set to: root on the server's side, or a mapped security model. */
  chown?: boolean;
  /** Symlinks have times of their own. */
  lutimes?: boolean;
  /** Writes through a handle find the end of the file at the time of the write. */
  append?: boolean;
  /** A file that was unlinked while it is open still has attributes: not where the server looks them up by path. */
  unlinkedStat?: boolean;
}

/** What each test gets: the file system, and a fresh directory in it. */
export interface Place {
  readonly fs: Fs;
  readonly limits: Required<Limits>;
  /** A path in this test's directory. */
  path(...names: readonly string[]): string;
}

const topics = { paths, opening, content, handles, streams, metadata, names, links, directories, trees };

/** Assertions below which the suite has lost some. */
const LEAST = 300;

/**
 * What `node:fs/promises` does, held against anything that has its shape. It runs on Node's own over a local disk too: what fails
 * there is the suite's fault.
 */
export function fsContract(name: string, make: () => Promise<Subject>, limits: Limits = {}): void {
  describe(`${name} as node:fs/promises`, () => {
    let subject: Subject;
    let directory: string;
    let tests = 0;
    let assertions = 0;
    const at = (): Place => ({
      fs: subject.fs,
      limits: { chown: true, lutimes: true, append: true, unlinkedStat: true, ...limits },
      path: (...parts) => [directory, ...parts].join('/'),
    });

    beforeAll(async () => {
      subject = await make();
    });
    beforeEach(async () => {
      directory = `${subject.base}/t${tests++}`;
      await subject.fs.mkdir(directory);
    });
    afterEach(async () => {
      assertions += expect.getState().assertionCalls;
      await subject.settled?.();
      await subject.fs.rm(directory, { recursive: true, force: true });
    });
    afterAll(async () => {
      await subject?.[Symbol.asyncDispose]();
      if (process.env['NINEP_COUNT'] !== undefined) console.log(`${name}: ${assertions} assertions in ${tests} tests`);
      // A run of a few chosen tests is not held to it.
      if (tests >= 100 && assertions < LEAST) throw new Error(`only ${assertions} assertions`);
    });

    for (const [topic, define] of Object.entries(topics)) describe(topic, () => define(at));
  });
}

/**
 * The POSIX suite: what the standard and Linux' manual pages promise of chmod, chown, link, mkdir, mkfifo, mknod, open, rename, rmdir, symlink, truncate, unlink,
 * utimensat and the calls beside them, held against a directory. Every file system of this repository passes it, and so does the local disk, the oracle.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runScript } from '../support/script.js';
import { covers, type Deviation } from './posix/deviations.js';
import { groups } from './posix/groups.js';
import type { Lack, Line, Order } from './posix/order.js';
import { defaultUsers, type Result, type Users } from './posix/test.js';

export interface PosixGround {
  /** An empty directory on the file system under test, owned by whoever runs the suite. */
  readonly directory: string;
  /** The same directory where its file system is mounted read-only; without it EROFS is not tested. */
  readonly readOnly?: string;
  /** A directory of any other file system; /dev/shm unless said. */
  readonly elsewhere?: string;
  release?(): Promise<void>;
}

export interface PosixOptions {
  readonly deviations?: readonly Deviation[];
  /** Two ordinary users, with the groups they are in. Numbers need no names in the host's data base. */
  readonly users?: Users;
  /** Beginnings of the names of the groups to run. */
  readonly only?: readonly string[];
  /** What the file system cannot do at all; say why where the suite is declared. */
  readonly lacks?: readonly Lack[];
  /** Milliseconds for the whole suite. */
  readonly timeout?: number;
  /** How many assertions there must be at least. */
  readonly atLeast?: number;
}

export interface PosixRun {
  readonly results: readonly Result[];
  readonly finished: ReadonlySet<string>;
  readonly skipped: ReadonlyMap<string, string>;
  /** Why it did not run to its end; empty when it did. */
  readonly trouble: string;
}

const script = new URL('./posix/child.ts', import.meta.url);

/** Runs the suite on a directory in a process of its own. */
export async function runPosix(order: Omit<Order, 'users'> & { readonly users?: Users }, timeout = 900_000): Promise<PosixRun> {
  const results: Result[] = [];
  const finished = new Set<string>();
  const skipped = new Map<string, string>();
  let ended = false;
  let current = 'the first group';
  const ran = await runScript(script, [JSON.stringify({ users: defaultUsers, ...order })], {
    timeout,
    onLine: (text) => {
      const line: Line = JSON.parse(text);
      if ('finished' in line) ended = true;
      else if ('begun' in line) current = line.group;
      else if ('skipped' in line) skipped.set(line.group, line.skipped);
      else if ('done' in line) finished.add(line.group);
      else results.push(line);
    },
  });
  const how = ran.timedOut ? 'did not end in time' : `ended with ${ran.code ?? ran.signal}`;
  return { results, finished, skipped, trouble: ended ? '' : `the suite ${how} in "${current}": ${ran.stderr.slice(-2000)}` };
}

/** Declares the suite for one file system: one test for each group. */
export function posixContract(name: string, prepare: () => Promise<PosixGround>, options: PosixOptions = {}): void {
  const deviations = options.deviations ?? [];
  const timeout = options.timeout ?? 900_000;
  // What a file system is said to lack is not skipped: there is no such test for it.
  const lacked: ReadonlySet<string> = new Set(options.lacks);
  const chosen = groups.filter(
    (group) =>
      !group.needs.some((need) => lacked.has(need)) &&
      (options.only === undefined || options.only.some((prefix) => group.name.startsWith(prefix))),
  );

  describe(`POSIX on ${name}`, () => {
    let ground: PosixGround | undefined;
    let run: PosixRun | undefined;

    const runOn = ({ directory, elsewhere = '/dev/shm', readOnly }: PosixGround, only: readonly string[] | undefined) =>
      runPosix(
        {
          directory,
          elsewhere,
          ...(readOnly === undefined ? {} : { readOnly }),
          ...(options.users === undefined ? {} : { users: options.users }),
          ...(only === undefined ? {} : { only }),
          ...(options.lacks === undefined ? {} : { lacks: options.lacks }),
        },
        timeout,
      );

    beforeAll(async () => {
      ground = await prepare();
      run = await runOn(ground, options.only);
    }, timeout + 120_000);

    afterAll(async () => {
      await ground?.release?.();
    }, 120_000);

    it('runs to its end', () => {
      expect(run?.trouble).toBe('');
      expect(new Set(run?.results.map(({ group, what }) => `${group}: ${what}`)).size).toBeGreaterThanOrEqual(options.atLeast ?? 0);
    });

    for (const group of chosen) {
      let tries = 0;
      it(group.name, { timeout }, async (context) => {
        // A second try is one of the file system, not of what was found the first time.
        const tried = tries++ === 0 || ground === undefined ? run : await runOn(ground, [group.name]);
        const why = tried?.skipped.get(group.name);
        if (why !== undefined) return context.skip(`needs: ${why}`);
        expect(tried?.finished.has(group.name), `"${group.name}" did not run to its end: ${tried?.trouble}`).toBe(true);
        const results = tried?.results.filter((result) => result.group === group.name) ?? [];
        const known = (result: Result) => deviations.some((deviation) => covers(deviation, `${result.group}: ${result.what}`));
        const failures = results
          .filter((result) => !result.ok && !known(result))
          .map((result) => `${result.what}: got ${result.got}, want ${result.want}`);
        expect(failures, `${failures.length} of ${results.length} assertions`).toEqual([]);
      });
    }

    it('known deviations are still there', () => {
      const stale: string[] = [];
      for (const deviation of deviations) {
        if (deviation.sometimes === true) continue;
        const covered = run?.results.filter((result) => covers(deviation, `${result.group}: ${result.what}`)) ?? [];
        if (covered.length === 0 && options.only === undefined && run?.trouble === '')
          stale.push(`${deviation.assertion}: no such assertion`);
        stale.push(
          ...covered
            .filter((result) => result.ok)
            .map((result) => `${result.group}: ${result.what}: passes now; strike it off (${deviation.reason})`),
        );
      }
      expect(stale).toEqual([]);
    });
  });
}

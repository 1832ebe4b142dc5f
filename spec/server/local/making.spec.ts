/** New files under passthrough and none: the server's own, which the kernel makes as its maker's, and those that are given to somebody else. */
import { chmodSync, chownSync, closeSync, lstatSync, mkdirSync, openSync, readdirSync } from 'node:fs';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { GETATTR_ALL, L_O_EXCL, L_O_RDWR } from '../../../lib/protocol/constants.js';
import { ACL_GROUP, ACL_GROUP_OBJ, ACL_MASK, ACL_OTHER, ACL_USER, ACL_USER_OBJ, formatAcl } from '../../../lib/server/local/acl.js';
import { HostModel } from '../../../lib/server/local/host.js';
import type { LocalOptions } from '../../../lib/server/local/index.js';
import { openBelow } from '../../support/descriptors.js';
import { requires } from '../../support/requires.js';
import { caller, Exported, hostXattr, intercept, outcome, setHostXattr } from './exported.js';

const NO_ID = 0xffffffff;
const ACCESS = 'system.posix_acl_access';
const DEFAULT = 'system.posix_acl_default';
const modes = [0, 0o400, 0o600, 0o640, 0o644, 0o666, 0o711, 0o755, 0o777];
const marked = [0o4755, 0o2755, 0o2644, 0o1777, 0o6711, 0o7000];
const masks = [0, 0o022, 0o077, 0o777];

const entry = (tag: number, perm: number, id = NO_ID) => ({ tag, perm, id });
const acls = {
  'that says no more than a mode': [entry(ACL_USER_OBJ, 6), entry(ACL_GROUP_OBJ, 4), entry(ACL_OTHER, 0)],
  'that gives all': [entry(ACL_USER_OBJ, 7), entry(ACL_GROUP_OBJ, 7), entry(ACL_OTHER, 7)],
  'with a mask': [
    entry(ACL_USER_OBJ, 7),
    entry(ACL_USER, 7, 1001),
    entry(ACL_GROUP_OBJ, 5),
    entry(ACL_GROUP, 2, 2002),
    entry(ACL_MASK, 6),
    entry(ACL_OTHER, 1),
  ],
};

/** Kinds of directories, by what is done to a fresh one on the host. */
const directories: [string, (path: string) => void][] = [
  ['a plain one', () => {}],
  [
    'one of another group',
    (path) => {
      chownSync(path, 5, 50);
    },
  ],
  [
    'one that hands its group down',
    (path) => {
      chownSync(path, 5, 50);
      chmodSync(path, 0o2777);
    },
  ],
  [
    'one that hands the server’s group down',
    (path) => {
      chmodSync(path, 0o2777);
    },
  ],
  ...Object.entries(acls).map(([what, acl]): [string, (path: string) => void] => [
    `one with a default ACL ${what}`,
    (path) => setHostXattr(path, DEFAULT, Buffer.from(formatAcl(acl)).toString('hex')),
  ]),
  [
    'one with a default ACL that hands its group down',
    (path) => {
      chownSync(path, 5, 50);
      chmodSync(path, 0o2777);
      setHostXattr(path, DEFAULT, Buffer.from(formatAcl(acls['with a mask'])).toString('hex'));
    },
  ],
];

/** What the host has of a file. */
function seen(path: string): object {
  const { uid, gid, mode, size, nlink } = lstatSync(path);
  return { uid, gid, mode: mode.toString(8), size, nlink, acl: hostXattr(path, ACCESS) };
}

requires('root')('a new file', () => {
  const umask = process.umask();

  afterEach(() => {
    process.umask(umask);
    vi.restoreAllMocks();
  });

  /** Makes `name` in the directory d, and tells what it is on the host; what its maker is told of it must be that. */
  async function make(e: Exported, name: string, mode: number, uid: number, gid: number): Promise<object> {
    await e.at('d', async (d) => {
      const { node, file, attributes } = await d.create(name, L_O_RDWR | L_O_EXCL, mode, gid, caller(uid));
      expect(attributes).toEqual(await file.getattr(GETATTR_ALL, caller(uid)));
      expect(await file.write(Buffer.from('x'), 0, caller(uid))).toBe(1);
      await file.setattr(
        { valid: 8, mode: 0, uid: 0, gid: 0, size: 0, atime: { sec: 0, nsec: 0 }, mtime: { sec: 0, nsec: 0 } },
        caller(uid),
      );
      await file.close();
      node.release();
    });
    return seen(e.host('d', name));
  }

  async function exported(options: LocalOptions, prepare: (path: string) => void): Promise<Exported> {
    const e = await Exported.make(options);
    mkdirSync(e.host('d'));
    prepare(e.host('d'));
    return e;
  }

  describe.each(['passthrough', 'none'] as const)('under %s', (securityModel) => {
    test.each(directories)('is what root would have made, whatever this process’s umask, in %s', async (_, prepare) => {
      await using e = await exported({ securityModel }, prepare);
      const plain = vi.spyOn(HostModel.prototype, 'createPlain');
      for (const mask of masks) {
        for (const mode of modes) {
          const label = `${mask.toString(8)} ${mode.toString(8)}`;
          process.umask(0);
          closeSync(openSync(e.host('d', `kernel ${label}`), 'wx', mode));
          process.umask(mask);
          const made = await make(e, `served ${label}`, mode, 0, 0);
          process.umask(umask);
          expect([label, made]).toEqual([label, seen(e.host('d', `kernel ${label}`))]);
        }
      }
      // It was the short way.
      expect(plain.mock.results.every(({ value }) => value !== undefined)).toBe(true);
    });

    test.each(directories)('is the same whether or not the kernel is left to make it, in %s', async (_, prepare) => {
      await using e = await exported({ securityModel }, prepare);
      const owners: [number, number][] = [
        [0, 0],
        [0, 60],
        [1000, 0],
        [1000, 1000],
        [NO_ID, NO_ID],
      ];
      let count = 0;
      for (const mask of [0o022, 0o077]) {
        for (const [uid, gid] of owners) {
          for (const mode of [...modes, ...marked]) {
            const label = `${mask.toString(8)} ${mode.toString(8)} ${uid}:${gid}`;
            process.umask(mask);
            const short = await make(e, `f${count++}`, mode, uid, gid);
            const spy = vi.spyOn(HostModel.prototype, 'createPlain').mockReturnValue(undefined);
            const long = await make(e, `f${count++}`, mode, uid, gid);
            spy.mockRestore();
            process.umask(umask);
            expect([label, short]).toEqual([label, long]);
          }
        }
      }
    });
  });

  test('is its owner’s alone until it is its owner’s, and has no setuid before', async () => {
    const kinds: [number, number, number][] = [
      [1000, 1000, 0o666],
      [1000, 0, 0o666],
      [0, 1000, 0o666],
      [0, 0, 0o6777],
      [0, 0, 0o4755],
    ];
    for (const [index, [uid, gid, mode]] of kinds.entries()) {
      await using e = await exported({ securityModel: 'passthrough', background: 'always' }, () => {});
      const d = await e.walk('d');
      const before: number[] = [];
      intercept(e, ['fchownat', 'fchmod'], async (go) => {
        before.push(lstatSync(e.host('d', 'f')).mode & 0o7077);
        return go();
      });
      const { node, file } = await d.create('f', L_O_RDWR, mode, gid, caller(uid));
      expect([index, new Set(before)]).toEqual([index, new Set([0])]);
      expect(lstatSync(e.host('d', 'f'))).toMatchObject({ uid, gid, mode: 0o100000 | mode });
      await file.close();
      for (const held of [node, d]) held.release();
      vi.restoreAllMocks();
    }
  });

  test('of the server’s own is left as the kernel made it where that is right', async () => {
    await using e = await exported({ securityModel: 'passthrough', background: 'always' }, () => {});
    const calls: string[] = [];
    intercept(e, ['fchownat', 'fchmod', 'getxattr'], async (go, name) => {
      calls.push(name);
      return go();
    });
    await make(e, 'right', 0o600, 0, 0);
    expect(calls).toEqual([]);
    process.umask(0o077);
    await make(e, 'narrow', 0o644, 0, 0);
    expect(calls).toEqual(['getxattr', 'fchmod']);
  });

  const failures: [string, string, (path: string) => void, number][] = [
    ['that cannot be asked about', 'statx', () => {}, 0],
    ['whose mode cannot be set', 'fchmod', () => {}, 0o077],
    ['whose group cannot be set', 'fchownat', (path) => directories[2]?.[1](path), 0],
  ];

  test.each(failures)('%s is taken away again: %s', async (_, call, prepare, mask) => {
    await using e = await exported({ securityModel: 'passthrough', background: 'always' }, prepare);
    const d = await e.walk('d');
    const before = openBelow(e.directory.path);
    const EIO = -5;
    let made = false;
    intercept(e, ['openat', call], async (go, name) => {
      if (name === 'openat') {
        const fd = await go();
        made ||= readdirSync(e.host('d')).length > 0;
        return fd;
      }
      return made ? EIO : go();
    });
    process.umask(mask);
    expect(await outcome(() => d.create('f', L_O_RDWR, 0o644, 0, caller(0)))).toBe('EIO');
    process.umask(umask);
    expect(made).toBe(true);
    expect(readdirSync(e.host('d'))).toEqual([]);
    vi.restoreAllMocks();
    expect(openBelow(e.directory.path)).toBe(before);
    // Nothing of it is in the way.
    const { node, file } = await d.create('f', L_O_RDWR | L_O_EXCL, 0o644, 0, caller(0));
    await file.close();
    for (const held of [node, d]) held.release();
    expect(e.backend.counts()).toMatchObject({ locks: 0, held: 1 });
  });

  test('whose mode may not be set stays as the kernel made it, under none', async () => {
    const EPERM = -1;
    await using e = await exported({ securityModel: 'none', background: 'always' }, () => {});
    const d = await e.walk('d');
    intercept(e, 'fchmod', async () => EPERM);
    process.umask(0o077);
    const { node, file, attributes } = await d.create('f', L_O_RDWR, 0o644, 0, caller(0));
    process.umask(umask);
    expect(attributes?.mode).toBe(0o100600);
    expect(lstatSync(e.host('d', 'f')).mode).toBe(0o100600);
    await file.close();
    for (const held of [node, d]) held.release();
  });
});

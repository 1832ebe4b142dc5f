/** The restricted deletion flag: who may remove and rename in a sticky directory (POSIX XBD 4.3; unlink(2), rmdir(2), rename(2)). */
import path from 'node:path';
import type { User } from '../../support/syscalls.js';
import { everyType, type Group, group, type Test } from './test.js';

/** Owner of the directory, owner of the file, and who acts. In a sticky directory only the two owners and root may. */
function* owners(t: Test): Generator<[directory: User, file: User, actor: User, may: boolean]> {
  const third: User = { name: 'somebody', uid: 61003, gid: 61003, groups: [] };
  for (const directory of [t.alice, t.bob, third]) {
    for (const file of [t.alice, t.bob, third]) yield [directory, file, t.alice, directory === t.alice || file === t.alice];
  }
}

const root: User = { name: 'root', uid: 0, gid: 0, groups: [] };

const removal = group('sticky directories: unlink and rmdir', (t) => {
  for (const type of everyType) {
    for (const [directoryOwner, fileOwner, actor, may] of owners(t)) {
      const directory = t.dir(0o1777, { owner: directoryOwner });
      const at = t.make(type, path.join(directory, 'x'), { owner: fileOwner, mode: 0o777 });
      const result = t.as(actor, () => (type === 'directory' ? t.sys.rmdir(at) : t.sys.unlink(at)));
      const what = `a ${type} of ${fileOwner.name} in a directory of ${directoryOwner.name} by ${actor.name}`;
      t.gives(what, result, may ? 'ok' : 'EPERM');
      t.equal(`${what}: afterwards`, t.lstatOutcome(at), may ? 'ENOENT' : 'ok');
    }
    const at = t.make(type, path.join(t.dir(0o1777, { owner: t.bob }), 'x'), { owner: t.bob });
    t.gives(`a ${type} by root`, type === 'directory' ? t.sys.rmdir(at) : t.sys.unlink(at), 'ok');
    const plain = t.make(type, path.join(t.dir(0o777, { owner: t.bob }), 'x'), { owner: t.bob });
    t.gives(
      `a ${type} in a directory that is not sticky`,
      t.as(t.alice, () => (type === 'directory' ? t.sys.rmdir(plain) : t.sys.unlink(plain))),
      'ok',
    );
    const closed = t.make(type, path.join(t.dir(0o1755, { owner: t.bob }), 'x'), { owner: t.alice });
    t.gives(
      `a ${type} of one’s own in a sticky directory one may not write`,
      t.as(t.alice, () => (type === 'directory' ? t.sys.rmdir(closed) : t.sys.unlink(closed))),
      'EACCES',
    );
  }
});

const renaming = group('sticky directories: rename out of them', (t) => {
  for (const type of everyType) {
    for (const [directoryOwner, fileOwner, actor, may] of owners(t)) {
      const directory = t.dir(0o1777, { owner: directoryOwner });
      const at = t.make(type, path.join(directory, 'x'), { owner: fileOwner, mode: 0o777 });
      const to = path.join(t.dir(0o777), 'y');
      const what = `a ${type} of ${fileOwner.name} from a directory of ${directoryOwner.name} by ${actor.name}`;
      t.gives(
        what,
        t.as(actor, () => t.sys.rename(at, to)),
        may ? 'ok' : 'EPERM',
      );
      t.equal(`${what}: the old name`, t.lstatOutcome(at), may ? 'ENOENT' : 'ok');
      t.equal(`${what}: the new name`, t.lstatOutcome(to), may ? 'ok' : 'ENOENT');
      if (directoryOwner === fileOwner) {
        const inside = t.make(type, path.join(directory, 'in'), { owner: fileOwner, mode: 0o777 });
        t.gives(
          `${what}, inside it`,
          t.as(actor, () => t.sys.rename(inside, path.join(directory, 'out'))),
          may ? 'ok' : 'EPERM',
        );
      }
    }
  }
});

const replacing = group('sticky directories: rename over what they hold', (t) => {
  for (const type of everyType) {
    for (const [directoryOwner, fileOwner, actor, may] of owners(t)) {
      const target = t.make(type, path.join(t.dir(0o1777, { owner: directoryOwner }), 'y'), { owner: fileOwner, mode: 0o777 });
      const from = t.make(type, path.join(t.dir(0o777), 'x'), { owner: actor, mode: 0o777 });
      const before = t.stat(from).ino;
      const what = `a ${type} of ${fileOwner.name} in a directory of ${directoryOwner.name} replaced by ${actor.name}`;
      t.gives(
        what,
        t.as(actor, () => t.sys.rename(from, target)),
        may ? 'ok' : 'EPERM',
      );
      t.equal(`${what}: what is there`, t.stat(target).ino === before, may);
    }
    const target = t.make(type, path.join(t.dir(0o1777, { owner: t.bob }), 'y'), { owner: t.bob });
    const from = t.make(type, path.join(t.dir(0o777), 'x'), { owner: root });
    t.gives(`a ${type} replaced by root`, t.sys.rename(from, target), 'ok');
    const fresh = path.join(t.dir(0o1777, { owner: t.bob }), 'new');
    const mine = t.make(type, path.join(t.dir(0o777), 'x'), { owner: t.alice, mode: 0o777 });
    t.gives(
      `a ${type} moved into somebody else’s sticky directory under a new name`,
      t.as(t.alice, () => t.sys.rename(mine, fresh)),
      'ok',
    );
  }
});

export const stickyGroups: readonly Group[] = [removal, renaming, replacing];

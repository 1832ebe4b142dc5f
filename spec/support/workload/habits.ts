/**
 * What people do in a directory, each as they do it: with the programs they use, in processes of their own. A habit gets an empty directory on the file system under
 * test and one on the local disk, and fails with the program's own words.
 */
import path from 'node:path';
import { root } from '../build.js';
import { node, run, shell } from '../child.js';
import { missing } from '../requires.js';
import { inNode } from './habits-node.js';
import { workload } from './index.js';

export interface Scale {
  /** Files of the tree that is copied, packed and cloned. */
  readonly files: number;
  /** Bytes of the large file of that tree, and those its sparse file claims to have. */
  readonly large: number;
  readonly sparse: number;
  /** Files of the repository that is cloned. */
  readonly repository: number;
  /** Entries of the large directory. */
  readonly entries: number;
  /** Transactions of each database writer. */
  readonly transactions: number;
}

/** Sizes for every day, and those of a full run. */
export const SMALL: Scale = { files: 300, large: 8 << 20, sparse: 100_000_000, repository: 200, entries: 3000, transactions: 25 };
export const FULL: Scale = {
  files: 10_000,
  large: 2 * 2 ** 30,
  sparse: 5 * 2 ** 30,
  repository: 2000,
  entries: 100_000,
  transactions: 200,
};

export interface Grounds {
  /** An empty directory on the file system under test. */
  readonly here: string;
  /** An empty directory on the local disk. */
  readonly local: string;
  readonly scale: Scale;
}

export interface Habit {
  readonly name: string;
  /** Programs beyond those every Debian has. */
  readonly programs?: readonly string[];
  /** Needs a network (or npm's cache), and minutes. */
  readonly heavy?: boolean;
  /** What the file system must be able to: byte-range locks, flock, extended attributes, shared mappings, special files. */
  readonly needs?: readonly ('locks' | 'xattr' | 'mapping' | 'devices' | 'fallocate')[];
  run(grounds: Grounds): Promise<void>;
}

/** Why a habit cannot be tried here; undefined if it can. */
export function lacking(habit: Habit): string | undefined {
  return missing(...(habit.programs ?? []));
}

const TIMEOUT = 900_000;

/** A shell script whose `$1` is the directory under test and `$2` one on the local disk; in the former. */
const script =
  (text: string) =>
  async ({ here, local }: Grounds): Promise<void> => {
    await shell(`not() { if "$@"; then echo "not: $*" >&2; exit 1; fi; }\ncd "$1"\n${text}`, [here, local], { timeout: TIMEOUT });
  };

const same = async (one: string, other: string): Promise<void> => {
  const differences = await workload('compareTrees', [one, other]);
  if (differences.length > 0) throw new Error(`${one} and ${other} differ:\n${differences.slice(0, 30).join('\n')}`);
};

const tree = (scale: Scale, at: string) => workload('makeTree', [at, { files: scale.files, large: scale.large, sparse: scale.sparse }]);

const GIT =
  'export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null';

const copying: readonly Habit[] = [
  {
    name: 'cp -a of a whole tree, there and back',
    needs: ['devices'],
    async run({ here, local, scale }) {
      const [first, there, back] = [path.join(local, 'first'), path.join(here, 'there'), path.join(local, 'back')];
      await shell('mkdir "$1"', [first]);
      await tree(scale, first);
      await run('cp', ['-a', '--', first, there], { timeout: TIMEOUT });
      await same(first, there);
      // Symbolic links are compared by themselves; diff has no notion of special files.
      await run('diff', ['-r', '--no-dereference', '-x', 'special', '--', first, there], { timeout: TIMEOUT });
      await run('cp', ['-a', '--', there, back], { timeout: TIMEOUT });
      await same(first, back);
      await run('rm', ['-rf', '--', there], { timeout: TIMEOUT });
      await shell('[ ! -e "$1" ]', [there]);
    },
  },
  {
    name: 'tar, packed there and unpacked there',
    async run({ here, local, scale }) {
      const first = path.join(local, 'first');
      await shell('mkdir "$1"', [first]);
      await workload('makeTree', [first, { files: Math.min(scale.files, 2000), large: 1 << 20, sparse: 10_000_000, privileged: false }]);
      await shell(
        'cd "$1"; tar --format=posix --sparse -C "$2" -cf packed.tar first; mkdir out; tar --sparse -C out -xpf packed.tar; tar --sparse -df packed.tar -C out',
        [here, local],
        { timeout: TIMEOUT },
      );
      // tar passes sockets over.
      await shell('rm -f "$1/first/special/socket"; touch -r "$2/out/first/special" "$1/first/special"', [local, here]);
      await same(first, path.join(here, 'out', 'first'));
    },
  },
  {
    name: 'mv in from another file system and out again',
    run: script(
      'mkdir "$2/d"; seq 100000 > "$2/d/numbers"; ln -s numbers "$2/d/link"; chmod 750 "$2/d"; mv "$2/d" .; [ ! -e "$2/d" ]; [ "$(tail -n 1 d/link)" = 100000 ]; [ "$(stat -c %a d)" = 750 ]; mv d "$2"; [ ! -e d ]; [ "$(wc -l < "$2/d/numbers")" = 100000 ]',
    ),
  },
  {
    name: 'find, du, ls -lR and rm -rf',
    run: script(
      'mkdir -p a/b/c/d e; for n in $(seq 300); do echo $n > a/b/f$n; done; [ "$(find . -type f | wc -l)" = 300 ]; [ "$(find . -name "f1*" -delete; find . -type f | wc -l)" = 189 ]; du -s . > /dev/null; ls -lR > "$2/ls"; rm -rf a e; [ -z "$(ls -A)" ]',
    ),
  },
  {
    name: 'install, ln -sf, mktemp, truncate, dd conv=fsync',
    run: script(
      'seq 9 > x; install -D -m 750 x deep/er/y; [ "$(stat -c %a deep/er/y)" = 750 ]; ln -sf x l; ln -sf deep l; [ "$(readlink l)" = deep ]; f=$(mktemp ./tmp.XXXXXX); [ "$(stat -c %a "$f")" = 600 ]; truncate -s 1M "$f"; dd if=/dev/urandom of="$f" bs=4k count=10 seek=3 conv=notrunc,fsync status=none; [ "$(stat -c %s "$f")" = 1048576 ]',
    ),
  },
  {
    name: 'cp --reflink, --sparse and --preserve',
    run: script(
      'dd if=/dev/urandom of=a bs=1M count=3 status=none; truncate -s 20M a; cp --reflink=auto a b; cp --reflink=never --sparse=always a c; cp --sparse=never -p a d; cmp a b; cmp a c; cmp a d; [ "$(stat -c %Y a)" = "$(stat -c %Y d)" ]',
    ),
  },
  {
    name: 'a file of 5 GiB that is nearly all hole',
    run: script(
      'truncate -s 5G big; printf end | dd of=big bs=1 seek=5368709117 conv=notrunc status=none; [ "$(stat -c %s big)" = 5368709120 ]; [ "$(tail -c 3 big)" = end ]; [ "$(du -k big | cut -f 1)" -lt 10000 ]; printf more >> big; [ "$(stat -c %s big)" = 5368709124 ]; [ "$(tail -c 7 big)" = endmore ]',
    ),
  },
  {
    name: 'dd with O_DIRECT, O_SYNC and O_APPEND',
    run: script(
      'dd if=/dev/urandom of="$2/in" bs=64k count=16 status=none; dd if="$2/in" of=d bs=64k oflag=direct status=none; cmp "$2/in" d; dd if=d of="$2/out" bs=64k iflag=direct status=none; cmp "$2/in" "$2/out"; dd if="$2/in" of=s bs=64k oflag=sync status=none; cmp "$2/in" s; dd if="$2/in" of=s bs=64k oflag=append conv=notrunc status=none; [ "$(stat -c %s s)" = 2097152 ]',
    ),
  },
  {
    name: 'programs, scripts and shared libraries run from it',
    run: script(
      'cp /bin/ls ls; ./ls > /dev/null; printf "#!/bin/sh\\necho script\\n" > s; chmod +x s; [ "$(./s)" = script ]; cp "$(ldd /bin/ls | sed -n "s/.*=> \\(.*libc\\.so[^ ]*\\) .*/\\1/p")" libc.so.6; LD_LIBRARY_PATH=. ./ls > /dev/null; chmod -x s; not ./s 2> /dev/null',
    ),
  },
  {
    name: 'tail -f sees what is appended',
    run: script(
      'echo first > log; tail -n +1 -f log > "$2/seen" & p=$!; for n in $(seq 20); do echo $n >> log; done; until [ "$(tail -n 1 "$2/seen")" = 20 ]; do sleep 0.1; done; kill $p; [ "$(wc -l < "$2/seen")" = 21 ]',
    ),
  },
  {
    name: 'a shell’s redirections to files that are gone',
    run: script(
      'exec 3<> f; rm f; echo kept >&3; [ ! -e f ]; [ "$(cat /proc/self/fd/3)" = kept ]; : > g; exec 4>> g; mv g h; echo moved >&4; [ "$(cat h)" = moved ]; rm h; echo more >&4; echo new > h; [ "$(cat h)" = new ]',
    ),
  },
];

const building: readonly Habit[] = [
  {
    name: 'make rebuilds what is older and nothing else',
    programs: ['make'],
    run: script(
      'printf "out: in\\n\\tcp in out; echo built >> log\\n" > Makefile; echo 1 > in; make -s; make -s; [ "$(wc -l < log)" = 1 ]; until [ in -nt out ]; do echo 2 > in; done; make -s; [ "$(wc -l < log)" = 2 ]; [ "$(cat out)" = 2 ]',
    ),
  },
  {
    name: 'a compiler and its linker',
    programs: ['gcc'],
    run: script(`cat > m.c <<'END'
#include <stdio.h>
int f(void);
int main(void) { printf("%d\\n", f()); return 0; }
END
echo 'int f(void) { return 42; }' > f.c; gcc -c m.c f.c; ar rcs libf.a f.o; gcc m.o -L. -lf -o m; [ "$(./m)" = 42 ]
gcc -shared -fPIC f.c -o libg.so; gcc m.o -L. -lg -o n; [ "$(LD_LIBRARY_PATH=. ./n)" = 42 ]`),
  },
  {
    name: 'git init, add, commit, status, branch, merge, gc, fsck',
    programs: ['git'],
    run: script(
      `${GIT}; git init -q -b main r; cd r; for n in $(seq 100); do echo $n > f$n; done; ln -s f1 link; git add .; git commit -qm one; [ -z "$(git status --porcelain)" ]; git checkout -qb other; echo change > f5; git mv f6 g6; git commit -qam two; git checkout -q main; echo mine > f7; git commit -qam three; git merge -q other -m merged; [ "$(cat f5 f7)" = "$(printf 'change\\nmine')" ]; git gc -q; git fsck --strict; git stash list; [ -z "$(git status --porcelain)" ]; git rm -qr .; [ "$(ls | wc -l)" = 0 ]; git reset -q --hard; [ "$(git ls-files | wc -l)" = 101 ]; git diff --exit-code`,
    ),
  },
  {
    name: 'git clone of a large repository',
    programs: ['git'],
    async run({ here, local, scale }) {
      await shell(
        `${GIT}; cd "$2"; git init -q -b main source; cd source; n=0; while [ $n -lt "$3" ]; do d=d$((n / 50)); mkdir -p $d; seq $n $((n + 50)) > $d/f$n; n=$((n + 1)); done; git add .; git commit -qm all; git tag t; git checkout -qb other; for f in d0/*; do echo more >> $f; done; git commit -qam other; git checkout -q main
        cd "$1"; git clone -q "file://$2/source" clone; cd clone; [ "$(git ls-files | wc -l)" = "$3" ]; git fsck --strict; [ -z "$(git status --porcelain)" ]; git diff -r --exit-code t; git checkout -q other; git checkout -q main; [ -z "$(git status --porcelain)" ]; git -c core.fsmonitor=false status -s; git grep -q 17; git log --stat > /dev/null; diff -r -x .git "$2/source" .
        git worktree add -q "$1/tree" other; cd "$1/tree"; [ -z "$(git status --porcelain)" ]; cd ..; git -C clone worktree remove tree; git clone -q clone local; git -C local repack -adq; git -C local fsck`,
        [here, local, String(scale.repository)],
        { timeout: TIMEOUT },
      );
    },
  },
  {
    name: 'npm ci of a small package, its dependencies packed beside it',
    async run({ here }) {
      await shell(
        `cd "$1"; for p in one two three; do mkdir -p src/$p/lib; printf '{"name":"%s","version":"1.0.0","bin":{"%s":"bin.js"}}' $p $p > src/$p/package.json; printf '#!/usr/bin/env node\\nconsole.log("%s")\\n' $p > src/$p/bin.js; n=0; while [ $n -lt 40 ]; do echo "module.exports=$n" > src/$p/lib/m$n.js; n=$((n + 1)); done; (cd src/$p && npm pack --silent --cache "$1/cache" --pack-destination "$1" > /dev/null); done
        mkdir app; cd app; printf '{"name":"app","version":"1.0.0","dependencies":{"one":"file:../one-1.0.0.tgz","two":"file:../two-1.0.0.tgz","three":"file:../three-1.0.0.tgz"}}' > package.json
        npm install --silent --offline --no-audit --no-fund --cache "$1/cache"; rm -rf node_modules; npm ci --silent --offline --no-audit --no-fund --cache "$1/cache"; [ "$(npx --no-install two)" = two ]; [ "$(ls node_modules/three/lib | wc -l)" = 40 ]; node -e 'if (require("one/lib/m7.js") !== 7) process.exit(1)'; npm ls > /dev/null`,
        [here],
        { timeout: TIMEOUT },
      );
    },
  },
  {
    name: 'npm ci of vitest',
    heavy: true,
    async run({ here }) {
      await shell(
        `cd "$1"; printf '{"name":"app","version":"1.0.0","type":"module","devDependencies":{"vitest":"^4.1.0"}}' > package.json; npm install --package-lock-only --prefer-offline --no-audit --no-fund --silent; npm ci --prefer-offline --no-audit --no-fund --silent; printf 'import { expect, it } from "vitest";\\nit("adds", () => expect(1 + 1).toBe(2));\\n' > a.test.js; npx --no-install vitest run`,
        [here],
        { timeout: TIMEOUT },
      );
    },
  },
  {
    name: 'npm ci and a build of this project itself',
    heavy: true,
    async run({ here }) {
      await shell(
        'cd "$1"; (cd "$2" && tar -cf - package.json package-lock.json tsconfig.json tsconfig.build.json lib cli spec) | tar -xf -; npm ci --ignore-scripts --prefer-offline --no-audit --no-fund --silent; npm run build --silent; node dist/cli/main.js --version; npx --no-install tsc -p tsconfig.json --noEmit',
        [here, root],
        { timeout: TIMEOUT },
      );
    },
  },
];

const databases: readonly Habit[] = [
  {
    name: 'sqlite3 with a rollback journal',
    programs: ['sqlite3'],
    needs: ['locks'],
    run: script(
      'sqlite3 d.db "create table t(a integer primary key, b text); begin; with recursive n(x) as (values(1) union all select x+1 from n where x<5000) insert into t select x, hex(randomblob(20)) from n; commit; update t set b = upper(b); delete from t where a % 3 = 0; vacuum;"; [ "$(sqlite3 d.db "pragma integrity_check; select count(*) from t;" | tr "\\n" " ")" = "ok 3334 " ]; for n in $(seq 20); do sqlite3 d.db "insert into t(b) values($n);"; done; [ "$(sqlite3 d.db "select count(*) from t;")" = 3354 ]; [ "$(ls)" = d.db ]',
    ),
  },
  {
    name: 'sqlite3 with a write-ahead log',
    programs: ['sqlite3'],
    needs: ['locks', 'mapping'],
    run: script(
      '[ "$(sqlite3 d.db "pragma journal_mode = wal;")" = wal ]; sqlite3 d.db "create table t(a integer primary key, b text);"; for n in $(seq 20); do sqlite3 d.db "insert into t(b) values($n);"; done; [ "$(sqlite3 d.db "pragma integrity_check; select count(*) from t;" | tr "\\n" " ")" = "ok 20 " ]; sqlite3 d.db "pragma wal_checkpoint(truncate);" > /dev/null',
    ),
  },
  ...(['delete', 'wal'] as const).map(
    (journal): Habit => ({
      name: `sqlite3 with two writers (journal mode ${journal})`,
      programs: ['sqlite3'],
      needs: ['locks', 'mapping'],
      async run({ here, scale }) {
        await shell(
          `cd "$1"; sqlite3 d.db "pragma journal_mode = $2; create table t(w, n); create table c(n); insert into c values(0);" > /dev/null
          write() { n=0; while [ $n -lt "$1" ]; do printf 'begin immediate; insert into t values(%s, %s); update c set n = n + 1; commit;\\n' "$2" $n; n=$((n + 1)); done | sqlite3 -bail -cmd '.timeout 120000' d.db; }
          write "$3" 1 & a=$!; write "$3" 2 & b=$!; wait $a; wait $b
          [ "$(sqlite3 d.db 'pragma integrity_check; select count(*), (select n from c), count(distinct w * 1000000 + n) from t;' | tr '\\n' ' ')" = "ok $(($3 * 2))|$(($3 * 2))|$(($3 * 2)) " ]`,
          [here, journal, String(scale.transactions)],
          { timeout: TIMEOUT },
        );
      },
    }),
  ),
  {
    name: 'flock(1): ten processes count to two hundred',
    programs: ['flock'],
    needs: ['locks'],
    run: script(
      'echo 0 > count; for p in 1 2 3 4 5 6 7 8 9 10; do (for n in $(seq 20); do flock lock sh -c "read -r n < count; echo \\$((n + 1)) > count"; done) & done; wait; [ "$(cat count)" = 200 ]',
    ),
  },
  {
    name: 'flock(1): given up when somebody holds it, taken when the holder is killed',
    programs: ['flock'],
    needs: ['locks'],
    run: script(
      'mkfifo "$2/ready"; (exec 9> lock; flock 9; echo > "$2/ready"; exec sleep 600) & p=$!; read -r x < "$2/ready"; not flock -n lock true; not flock -w 0.2 lock true; kill -9 $p; wait $p || true; flock lock true',
    ),
  },
];

const others: readonly Habit[] = [
  {
    name: 'extended attributes',
    programs: ['setfattr', 'getfattr'],
    needs: ['xattr'],
    run: script(
      'echo x > f; setfattr -n user.one -v first f; setfattr -n user.two -v "$(printf "%0900d" 7)" f; [ "$(getfattr --only-values -n user.one f)" = first ]; [ "$(getfattr -d f | grep -c =)" = 2 ]; setfattr -n user.one -v other f; [ "$(getfattr --only-values -n user.one f)" = other ]; cp -a f g; [ "$(getfattr --only-values -n user.one g)" = other ]; setfattr -x user.one f; not getfattr -n user.one f 2> /dev/null; [ "$(getfattr -d f | grep -c =)" = 1 ]',
    ),
  },
  {
    name: 'fallocate and its holes',
    programs: ['fallocate'],
    needs: ['fallocate'],
    run: script(
      'fallocate -l 1M f; [ "$(stat -c %s f)" = 1048576 ]; dd if=/dev/urandom of=f bs=1M count=1 conv=notrunc status=none; cp f g; fallocate -p -o 65536 -l 131072 f; [ "$(stat -c %s f)" = 1048576 ]; cmp -n 65536 f g; [ "$(dd if=f bs=65536 skip=1 count=2 status=none | tr -d "\\0" | wc -c)" = 0 ]; [ "$(tail -c 851968 f | cksum)" = "$(tail -c 851968 g | cksum)" ]',
    ),
  },
  {
    name: 'stat -f, df, and the birth time',
    run: script(
      'echo x > f; stat -f . > /dev/null; df . > /dev/null; df -i . > /dev/null; stat -c %w f > /dev/null; [ "$(stat -c %h f)" = 1 ]',
    ),
  },
  {
    name: 'an editor saves: swap file, backup, rename, fsync',
    programs: ['vi'],
    run: script(
      'printf "one\\ntwo\\n" > f; chmod 640 f; for n in 1 2 3; do vi -u NONE -i NONE -n -es -c "set backup writebackup backupcopy=no | normal Goline $n" -c "wq" f < /dev/null; done; [ "$(tail -n 1 f)" = "line 3" ]; [ "$(stat -c %a f)" = 640 ]; vi -u NONE -i NONE -es -c "set backupcopy=yes directory=. | normal Golast" -c "wq" f < /dev/null; [ "$(tail -n 1 f)" = last ]; rm -f f~; [ "$(ls -A)" = f ]',
    ),
  },
  ...Object.entries(inNode).map(
    ([name, { source, needs }]): Habit => ({
      name,
      ...(needs === undefined ? {} : { needs }),
      async run({ here, local, scale }) {
        await node(source, [here, local, JSON.stringify(scale)], { timeout: TIMEOUT });
      },
    }),
  ),
];

export const habits: readonly Habit[] = [...copying, ...building, ...databases, ...others];

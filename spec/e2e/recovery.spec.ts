import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ensureBuilt, main } from '../support/build.js';
import { node, type RunResult, run, shell } from '../support/child.js';
import { launch, type ServerProcess } from '../support/launcher.js';
import { Random } from '../support/random.js';
import { requires, which } from '../support/requires.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { workload } from '../support/workload/index.js';

const ALL = process.env['NINEP_REQUIRE'] === 'all';
/** How often the server is killed. */
const KILLS = ALL ? 20 : 6;
const FILES = ALL ? 5000 : 1500;
const SOURCES = ALL ? 1000 : 300;
const TIMEOUT = 600_000;

vi.setConfig({ testTimeout: TIMEOUT, hookTimeout: 120_000 });

/** Writes one row after another and says so of each once it is committed. */
const DATABASE = `
import os, sqlite3, sys
path, stop = sys.argv[1:]
db = sqlite3.connect(path, isolation_level=None, timeout=120)
db.execute('pragma journal_mode=delete')
db.execute('pragma synchronous=full')
db.execute('create table if not exists rows(n integer primary key, data blob)')
n = 0
while not os.path.exists(stop):
    db.execute('begin immediate')
    db.execute('insert into rows values(?, ?)', (n, bytes([n % 251]) * (n * 37 % 5000)))
    db.execute('commit')
    print(n, flush=True)
    n += 1
assert db.execute('pragma integrity_check').fetchone() == ('ok',)
`;

/** Checks a copy of the database without the mount. */
const CHECK = `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
print(db.execute('pragma integrity_check').fetchone()[0])
for n, data in db.execute('select n, data from rows order by n'):
    assert data == bytes([n % 251]) * (n * 37 % 5000), n
    print(n)
`;

/** All that is not the same when it is done twice, each thing once and looked at afterwards. Whatever throws ends it. */
const ONCE = `
import assert from 'node:assert';
import * as fs from 'node:fs';
const [, directory, stop] = process.argv;
process.chdir(directory);
let rounds = 0;
for (; !fs.existsSync(stop); rounds++) {
  const n = rounds;
  fs.appendFileSync('log', 'the same line\\n');
  const lock = fs.openSync('lock', 'wx+', 0o400);
  fs.writeSync(lock, String(n));
  fs.mkdirSync('d' + n);
  fs.writeFileSync('d' + n + '/new', 'n' + n);
  const open = fs.openSync('d' + n + '/new', 'r+');
  fs.renameSync('d' + n, 'e');
  fs.writeSync(open, 'N', 0);
  fs.renameSync('e/new', 'e/old');
  fs.writeSync(open, '!', 1 + String(n).length);
  fs.closeSync(open);
  assert.equal(fs.readFileSync('e/old', 'utf8'), 'N' + n + '!');
  fs.linkSync('e/old', 'hard');
  fs.symlinkSync('e/old', 'soft');
  assert.equal(fs.statSync('soft').nlink, 2);
  assert.equal(fs.readlinkSync('soft'), 'e/old');
  fs.writeFileSync('kept', 'before' + n);
  fs.renameSync('hard', 'kept');
  assert.equal(fs.readFileSync('kept', 'utf8'), 'N' + n + '!');
  assert.deepEqual(fs.readdirSync('.').sort(), ['e', 'kept', 'lock', 'log', 'soft']);
  assert.throws(() => fs.mkdirSync('e'), { code: 'EEXIST' });
  assert.throws(() => fs.rmdirSync('e'), { code: 'ENOTEMPTY' });
  assert.throws(() => fs.unlinkSync('nothing'), { code: 'ENOENT' });
  fs.unlinkSync('soft');
  fs.unlinkSync('e/old');
  fs.rmdirSync('e');
  fs.truncateSync('kept', 1);
  assert.equal(fs.readFileSync('kept', 'utf8'), 'N');
  const back = Buffer.alloc(20);
  assert.equal(back.toString('utf8', 0, fs.readSync(lock, back, 0, 20, 0)), String(n));
  fs.closeSync(lock);
  fs.unlinkSync('lock');
}
console.log(rounds);
`;

/** A server at an address that stays the same. */
interface Kind {
  start(directory: TemporaryDirectory): Promise<ServerProcess>;
  address(directory: TemporaryDirectory): string;
}

const kinds: Record<string, Kind> = {
  'ninep serve': {
    start: (directory) =>
      launch({
        command: process.execPath,
        args: [
          main,
          'serve',
          '-e',
          `${directory.join('tree')},aname=t,security_model=passthrough`,
          '-l',
          `unix:${directory.join('socket')}`,
        ],
        ready: { line: /serving/, from: 'stderr' },
      }),
    address: (directory) => `unix:${directory.join('socket')}?aname=t`,
  },
  diod: {
    start: (directory) =>
      launch({
        command: 'diod',
        args: ['-f', '-n', '-c', '/dev/null', '-L', 'stderr', '-l', directory.join('socket'), '-e', directory.join('tree')],
        cwd: directory.path,
        ready: { connect: { path: directory.join('socket') } },
      }),
    address: (directory) => `unix:${directory.join('socket')}?aname=${encodeURIComponent(directory.join('tree'))}`,
  },
};

requires(
  'mount',
  'git',
  'python3',
)('work goes on while the server is killed and started again', () => {
  let directory: TemporaryDirectory;

  beforeEach(async () => {
    await ensureBuilt();
    directory = new TemporaryDirectory('survive');
    for (const name of ['tree', 'mnt', 'local']) mkdirSync(directory.join(name));
  });
  afterEach(() => directory.remove());

  for (const [name, kind] of Object.entries(kinds)) {
    const described = name === 'diod' && which('diod') === undefined ? describe.skip : describe;
    described(name, () => {
      it('loses nothing, and nobody notices', () => survives(kind));
    });
  }

  async function survives(kind: Kind): Promise<void> {
    const random = new Random();
    console.log(`seed ${random.seed}`);
    const at = (name: string) => directory.join(name);
    await workload('makeTree', [at('local'), { files: FILES, large: 1 << 20 }]);
    await repository(at('repository'));
    let server = await kind.start(directory);
    const mount = await launch({
      command: process.execPath,
      args: [main, 'mount', '--foreground', kind.address(directory), at('mnt'), '--retry', '120'],
      ready: { line: /mounted at/ },
    });
    let kills = 0;
    const stop = at('stop');
    const failed = new AbortController();
    const done = () => kills >= KILLS || failed.signal.aborted;
    const working = <T>(work: Promise<T>): Promise<T> =>
      work.catch((error: unknown) => {
        failed.abort();
        throw error;
      });
    try {
      mkdirSync(at('tree/once'));
      const jobs = [
        working(repeat(done, async (round) => void (await run('cp', ['-a', at('local'), at(`mnt/copy${round}`)], { timeout: TIMEOUT })))),
        working(
          repeat(done, async (round) => {
            await run('git', ['clone', '-q', at('repository'), at(`mnt/clone${round}`)], { timeout: TIMEOUT });
            await run('git', ['-C', at(`mnt/clone${round}`), 'fsck', '--strict'], { timeout: TIMEOUT });
          }),
        ),
        working(run('python3', ['-c', DATABASE, at('mnt/rows.db'), stop], { timeout: TIMEOUT })),
        working(node(ONCE, [at('mnt/once'), stop], { timeout: TIMEOUT })),
      ] as const;
      const all = Promise.allSettled(jobs);
      while (!done() && !failed.signal.aborted) {
        await delay(random.integer(0, 2000));
        server.kill('SIGKILL');
        await server.exited;
        rmSync(at('socket'), { force: true });
        await delay(random.integer(0, 300));
        server = await kind.start(directory);
        kills++;
        // Now and then it is killed again while the fids are made anew; otherwise the work goes on for a while.
        if (!random.oneIn(4)) await mount.output(/back after(?![\s\S]*dialling again)/, { timeout: 120_000 });
      }
      writeFileSync(stop, '');
      await all;
      const [copies, clones, database, once] = await Promise.all(jobs);
      expect(mount.stderr).toMatch(/back after/);
      expect(mount.stderr).not.toMatch(/ESTALE|EIO|still lost/);
      await mount.stop();
      for (let round = 0; round < copies; round++) {
        expect(await workload('compareTrees', [at('local'), at(`tree/copy${round}`)]), `copy ${round}`).toEqual([]);
      }
      for (let round = 0; round < clones; round++) {
        await run('git', ['-C', at(`tree/clone${round}`), 'fsck', '--strict'], { timeout: TIMEOUT });
        expect((await run('git', ['-C', at(`tree/clone${round}`), 'status', '--porcelain'], { timeout: TIMEOUT })).stdout).toBe('');
      }
      const committed = lines(database);
      const [verdict, ...rows] = lines(await run('python3', ['-c', CHECK, at('tree/rows.db')], { timeout: TIMEOUT }));
      expect(verdict).toBe('ok');
      expect(rows).toEqual(committed);
      expect(committed.length).toBeGreaterThan(0);
      const rounds = Number(once.stdout);
      expect(readFileSync(at('tree/once/log'), 'utf8')).toBe('the same line\n'.repeat(rounds));
      expect(readdirSync(at('tree/once')).sort()).toEqual(['kept', 'log']);
      const recoveries = mount.stderr.match(/back after/g)?.length;
      console.log(
        `${kills} kills, ${recoveries} recoveries: ${copies} copies, ${clones} clones, ${committed.length} rows, ${rounds} rounds`,
      );
    } finally {
      await mount.stop();
      await server.stop();
    }
  }

  /** Does it again and again until `done`, but once at least; how often it was. */
  async function repeat(done: () => boolean, work: (round: number) => Promise<void>): Promise<number> {
    let round = 0;
    do await work(round++);
    while (!done());
    return round;
  }

  async function repository(path: string): Promise<void> {
    await shell(
      `mkdir -p "$1"; cd "$1"; git init -q; n=0; while [ $n -lt ${SOURCES} ]; do d=src/$((n % 20)); mkdir -p $d; seq $n $((n + 50)) > $d/file$n; n=$((n + 1)); done; git add .; git -c user.name=n -c user.email=n@example.org commit -q -m first`,
      [path],
      { timeout: TIMEOUT },
    );
  }
});

function lines({ stdout }: RunResult): string[] {
  return stdout.split('\n').filter((line) => line !== '');
}

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { expect, test } from 'vitest';
import { connect } from '../../lib/client/index.js';
import { type Mount, type MountOptions, mount, unmount } from '../../lib/fuse/index.js';
import { poller } from '../../lib/sys/poller.js';
import { node, run, shell } from '../support/child.js';
import { Random } from '../support/random.js';
import { isLinux, requires } from '../support/requires.js';
import { diod } from '../support/servers/diod.js';
import { mountsBelow, TemporaryDirectory } from '../support/temporary.js';
import { type Mounted, mounted, type ServerName } from './mounted.js';

const timeout = 180_000;

/** Another mount of the same server. */
async function second(first: Mounted, options: MountOptions = {}): Promise<Mount & { close(): Promise<void> }> {
  const directory = first.root.join('second');
  await mkdir(directory);
  const client = await connect(first.address, { polled: true });
  const mounting = await mount(client, directory, options);
  const close = async (): Promise<void> => {
    await mounting.unmount();
    await client.close();
  };
  return Object.assign(mounting, { close });
}

/** Whether the kernel drops what it has cached of a range that is written past its cache: since Linux 6.6. */
const keepsInStep = isLinux(6, 6);

/**
 * Writes a file over and over through a descriptor that is open for writing only, and looks for what it wrote through another one and a mapping. A child reads
 * it all the time, so that pages come back between the requests of one write(2).
 */
const IN_STEP = `
import mmap, os, random, signal, sys
path, seed, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
SIZE = 4 << 20
with open(path, 'wb') as file: file.write(bytes(SIZE))
reader = os.open(path, os.O_RDONLY)
child = os.fork()
if child == 0:
    while True: os.pread(reader, SIZE, 0)
mapped = mmap.mmap(reader, SIZE, prot=mmap.PROT_READ)
writer = os.open(path, os.O_WRONLY)
numbers = random.Random(seed)
try:
    for n in range(1, rounds + 1):
        begin = numbers.randrange(SIZE // 2)
        wanted = bytes([n]) * (SIZE - begin)
        assert os.pwrite(writer, wanted, begin) == SIZE - begin
        assert os.pread(reader, SIZE, begin) == wanted, ('read', n, begin)
        assert mapped[begin:] == wanted, ('mapped', n, begin)
finally:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
`;

/** Writes a file and looks at its size and at what it wrote, while a child opens it again and again. */
const OWN_WRITES = `
import os, sys
path, rounds = sys.argv[1], int(sys.argv[2])
fd = os.open(path, os.O_RDWR | os.O_CREAT)
kid = os.fork()
if kid == 0:
    while True: os.close(os.open(path, os.O_RDONLY))
size = 0
try:
    for n in range(rounds):
        size += os.pwrite(fd, b'x' * 100, size)
        assert os.fstat(fd).st_size == size, ('size', n)
        assert os.pread(fd, 100, size - 100) == b'x' * 100, ('content', n)
finally:
    os.kill(kid, 9)
    os.waitpid(kid, 0)
`;

/** Whatever takes locks of the kernel that a notification may wait for, all at once for a while. */
const CROSSING = `
import os, sys, time
directory, seconds = sys.argv[1], float(sys.argv[2])
file = directory + '/f'
reader = os.open(file, os.O_RDONLY)
os.pread(reader, 4096, 0)
writer = os.open(file, os.O_WRONLY)
end = time.time() + seconds
def kid(work):
    pid = os.fork()
    if pid: return pid
    while time.time() < end: work()
    os._exit(0)
def relink():
    os.link(file, directory + '/t')
    os.unlink(directory + '/t')
kids = [
    kid(lambda: os.pwrite(writer, b'x' * 4096, 0)),
    kid(relink),
    kid(lambda: [os.stat(directory + '/many%d' % n) for n in range(400)]),
]
for pid in kids: assert os.waitpid(pid, 0)[1] == 0
`;

/** A lock on bytes of a file by fcntl(2), held until the process's input ends: `perl` is part of every Debian. */
const FCNTL = `perl -e 'use Fcntl; my ($file, $type, $start, $length, $wait) = @ARGV; open(my $f, "+<", $file) or die; $| = 1;
  my $lock = pack("s s x4 q q i x4", $type eq "w" ? F_WRLCK : F_RDLCK, 0, $start, $length, 0);
  if (fcntl($f, $wait ? F_SETLKW : F_SETLK, $lock)) { print "locked\\n" } else { print "refused\\n"; exit 3 } <STDIN>' "$@"`;

class Locker {
  readonly child;
  /** Listened for from the beginning: when a child exits, Node throws away what nobody has begun to read. */
  readonly #said: Promise<unknown[]>;
  constructor(file: string, type: 'r' | 'w', start: number, length: number, wait = false) {
    this.child = spawn('/bin/sh', ['-c', `exec ${FCNTL}`, 'sh', file, type, String(start), String(length), wait ? '1' : ''], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#said = once(this.child.stdout, 'data');
  }
  async says(): Promise<string> {
    const [chunk] = await this.#said;
    return String(chunk).trim();
  }
  async end(signal?: NodeJS.Signals): Promise<void> {
    const exit = once(this.child, 'exit');
    if (signal === undefined) this.child.stdin.end();
    else this.child.kill(signal);
    await exit;
  }
}

/** Whether every thread of a process has been stopped (proc(5)): some may still answer after the signal was sent. */
function standsStill(pid: number): boolean {
  return readdirSync(`/proc/${pid}/task`).every((tid) =>
    / T /.test(readFileSync(`/proc/${pid}/task/${tid}/stat`, 'utf8').replace(/^.*\)/s, '')),
  );
}

/** What ends a mount whatever waits in it (Documentation/filesystems/fuse). */
async function abortConnection(directory: string): Promise<void> {
  const line = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((each) => each.includes(` ${directory} `));
  const minor = /^\d+ \d+ \d+:(\d+) /.exec(line ?? '')?.[1];
  await shell(
    '[ -e /sys/fs/fuse/connections/$1 ] || mount -t fusectl fusectl /sys/fs/fuse/connections; echo 1 > "/sys/fs/fuse/connections/$1/abort"',
    [minor ?? ''],
  );
}

for (const server of ['passthrough', 'mapped-xattr', 'diod'] as ServerName[]) {
  requires(
    'mount',
    'python3',
    ...(server === 'diod' ? ['diod'] : []),
  )(`a mount of ${server}`, () => {
    test('holds what was put there, and no fid is left when it ends', { timeout }, async () => {
      const at = await mounted(server);
      const { client, directory, source } = at;
      await shell(
        `cd "$1"; mkdir -p deep/er; echo one > deep/er/one; ln deep/er/one two; ln -s deep/er/one three; mkfifo f; cmp two three
        [ "$(stat -c %h two)" = 2 ]; [ "$(stat -c %i two)" = "$(stat -c %i deep/er/one)" ]; mv deep moved; cat moved/er/one; ! cat three 2>/dev/null
        i=0; while [ $i -lt 200 ]; do echo $i > "moved/n $i"; i=$((i+1)); done; [ "$(ls moved | wc -l)" = 201 ]; cat moved/n* | sort -n | tail -1
        head -c 3000000 /dev/urandom > big; cmp big "$2/big"; cp big big2; cmp big big2; truncate -s 1000 big2; cmp -n 1000 big big2; [ "$(stat -c %s big2)" = 1000 ]
        dd if=big of=big2 bs=300001 seek=1 conv=notrunc status=none; [ "$(stat -c %s big2)" = 3300001 ]
        printf a >> log; printf b >> log; [ "$(cat log)" = ab ]; rm -r moved; [ ! -e moved ]; [ "$(stat -c %h two)" = 1 ]
        touch -d @1000000000.5 two; [ "$(stat -c %Y two)" = 1000000000 ]; chmod 4711 two; [ "$(stat -c %a two)" = 4711 ]`,
        [directory, source],
      );
      await at.mount.unmount();
      expect(at.mount.counters()).toMatchObject({ pinned: 0, openFiles: 0, openDirectories: 0, pending: 0 });
      expect(client.fidCount.alive).toBe(1);
      await at.release();
    });

    test('what a closed file holds is what the next open elsewhere sees', { timeout }, async () => {
      await using one = await mounted(server);
      const two = await second(one);
      await shell(
        `echo 1 > "$1/f"; [ "$(cat "$2/f")" = 1 ]
        for i in 22 333 4 55555 66; do
          echo $i > "$1/f"; [ "$(cat "$2/f")" = $i ]
          echo x$i > "$2/new"; mv "$2/new" "$2/f"; [ "$(cat "$1/f")" = x$i ]
          printf $i >> "$1/f"; [ "$(cat "$2/f")" = "x$i
$i" ]
        done
        for i in 1 2 3 4 5 6 7 8 9; do echo one >> "$1/log"; echo two >> "$2/log"; done; [ "$(wc -l < "$1/log")" = 18 ]; [ "$(sort "$2/log" | uniq -c | wc -l)" = 2 ]
        echo here > "$1/a"; [ "$(cat "$2/a")" = here ]; rm "$1/a"; ! cat "$2/a" 2>/dev/null`,
        [one.directory, two.directory],
      );
      await two.close();
    });

    test('who writes sees what he wrote, whoever opens the file meanwhile', { timeout }, async () => {
      await using at = await mounted(server);
      await run('python3', ['-c', OWN_WRITES, `${at.directory}/f`, '1500'], { timeout });
    });

    test('who has a file open reads it to its end, though another replaces or removes it on the server', { timeout }, async () => {
      await using at = await mounted(server, { attrTimeout: 0 });
      const { stdout } = await node(
        `import fs from 'node:fs';
        const [directory, source] = process.argv.slice(1);
        for (const how of ['replaced', 'removed', 'renamed before', 'renamed, then removed']) {
          if (how.startsWith('renamed')) {
            fs.writeFileSync(directory + '/g', 'x'.repeat(300000));
            fs.renameSync(directory + '/g', directory + '/f');
          } else {
            fs.writeFileSync(source + '/f', 'x'.repeat(300000));
          }
          const fd = fs.openSync(directory + '/f', 'r');
          const { ino } = fs.fstatSync(fd);
          let content = Buffer.alloc(1000);
          fs.readSync(fd, content, 0, 1000);
          fs.writeFileSync(source + '/new', 'other');
          if (how.endsWith('removed')) fs.unlinkSync(source + '/f'); else fs.renameSync(source + '/new', source + '/f');
          const after = fs.fstatSync(fd);
          content = content.toString() + fs.readFileSync(fd, 'utf8');
          fs.closeSync(fd);
          console.log(how, after.ino === ino, after.size, content === 'x'.repeat(300000));
        }`,
        [at.directory, at.source],
      );
      expect(stdout.trimEnd().split('\n')).toEqual(
        ['replaced', 'removed', 'renamed before', 'renamed, then removed'].map((how) => `${how} true 300000 true`),
      );
    });

    test('an unchanged file is not read twice', { timeout }, async () => {
      await using at = await mounted(server);
      await shell(`head -c 1000000 /dev/zero > "$1/f"; touch -d @1000000000 "$1/f"; cat "$1/f" > /dev/null`, [at.directory]);
      const reads = at.mount.counters().requests['read'] ?? 0;
      expect(reads).toBeGreaterThan(0);
      await shell(`cat "$1/f" > /dev/null; cat "$1/f" > /dev/null`, [at.directory]);
      expect(at.mount.counters().requests['read']).toBe(reads);
      await shell(`printf x | dd of="$2/f" conv=notrunc status=none; [ "$(head -c 1 "$1/f")" = x ]`, [at.directory, at.source]);
    });
  });
}

requires('mount', 'python3')('what is only written goes past the page cache', () => {
  test('and what others have open and mapped is in step with it', { timeout }, async () => {
    await using at = await mounted('passthrough');
    const { seed } = new Random();
    await run('python3', ['-c', IN_STEP, `${at.directory}/f`, String(seed), '100'], { timeout }).catch((error: unknown) => {
      console.log(`seed ${seed}`);
      throw error;
    });
    expect(at.mount.counters().requests['write']).toBeGreaterThanOrEqual(200);
  });

  test('and nobody waits for a name that the kernel is to forget', { timeout }, async () => {
    await using at = await mounted('passthrough', { maxNodes: 100 });
    await shell('cd "$1"; echo content > f; for n in $(seq 0 399); do echo > many$n; done', [at.source]);
    const crossing = run('python3', ['-c', CROSSING, at.directory, '3'], { timeout: 30_000 });
    try {
      await crossing;
    } catch (error) {
      // Processes that wait for one another end with the connection only.
      await abortConnection(at.directory);
      throw error;
    }
  });

  test('without being asked for its capabilities first', { timeout }, async () => {
    await using at = await mounted('passthrough');
    await node(`import fs from 'node:fs'; for (let n = 0; n < 20; n++) fs.writeFileSync(process.argv[1] + '/' + n, 'content');`, [
      at.directory,
    ]);
    expect(at.mount.counters().requests['getxattr'] ?? 0).toBe(keepsInStep ? 0 : 20);
    expect(readFileSync(`${at.source}/19`, 'utf8')).toBe('content');
  });
});

requires(
  'mount',
  'getfattr',
  'setfacl',
  'setpriv',
)('a mount with ACLs', () => {
  for (const server of ['passthrough', 'mapped-xattr'] as const) {
    test(`leaves the umask out below a default ACL, on ${server}`, { timeout }, async () => {
      await using at = await mounted(server);
      const work = `mkdir "$1"; cd "$1"; chmod 777 .; umask 077; touch before; mkdir d; mkfifo p; setfacl -d -m u::rwx,g::rwx,o::rwx .
        touch f; mkdir e; mkfifo q; setfacl -k .; touch after; mkdir last; stat -c '%n %a' before d p f e q after last`;
      const there = await shell(work, [at.root.join('local')]);
      expect((await shell(work, [`${at.directory}/here`])).stdout).toBe(there.stdout);
      expect(there.stdout).toBe('before 600\nd 700\np 600\nf 666\ne 777\nq 666\nafter 600\nlast 700\n');
    });
  }

  test('takes set-group-ID from a file whose owner sets its ACL and is not in its group', { timeout }, async () => {
    await using at = await mounted('passthrough');
    const work = `cd "$1"; umask 0; chmod 777 .; touch $2; chown 1000:1234 $2; chmod 2755 $2
      setpriv --reuid 1000 --regid $3 --clear-groups setfacl -m u:5:r $2; stat -c %a $2`;
    for (const [group, mode] of [
      ['1000', '755\n'],
      ['1234', '2755\n'],
    ] as const) {
      expect((await shell(work, [at.source, `a${group}`, group])).stdout).toBe(mode);
      expect((await shell(work, [at.directory, `b${group}`, group])).stdout).toBe(mode);
    }
  });

  test('does not lose them to who asks for another name', { timeout }, async () => {
    await using at = await mounted('passthrough');
    await shell('mkdir "$1/d"; echo text > "$1/d/f"; chmod 644 "$1/d/f"; chmod 755 "$1/d"', [at.source]);
    const other = 'setpriv --reuid 2345 --regid 2345 --clear-groups';
    await shell(`! ${other} getfattr -n system.other "$1" 2>/dev/null`, [at.directory]);
    expect((await shell(`${other} cat "$1/d/f"`, [at.directory])).stdout).toBe('text\n');
  });
});

requires('mount')('a mount by root', () => {
  test('stays where it is while another one lies over it, which stays as well', { timeout }, async () => {
    await using at = await mounted('passthrough');
    const client = await connect(at.address, { polled: true });
    const upper = await mount(client, at.directory);
    try {
      for (const lazy of [false, true]) {
        await expect(at.mount.unmount({ lazy })).rejects.toMatchObject({ code: 'EBUSY', message: expect.stringContaining('lies over it') });
      }
      await shell('echo x > "$1/f"; [ "$(cat "$2/f")" = x ]', [at.directory, at.source]);
    } finally {
      await upper.unmount();
      await client.close();
    }
  });

  test.each([
    [undefined, availableParallelism() <= 4],
    [true, true],
    [false, false],
  ])(
    'keeps processors awake while there is much to do, if told to or if they are few, and lets go of them (%s)',
    { timeout },
    async (lowLatency, wanted) => {
      const device = '/dev/cpu_dma_latency';
      const lines: string[] = [];
      await using at = await mounted('passthrough', {
        ...(lowLatency === undefined ? {} : { lowLatency }),
        warn: (line) => lines.push(line),
      });
      const held = () =>
        readdirSync('/proc/self/fd').some((fd) => {
          try {
            return readlinkSync(`/proc/self/fd/${fd}`) === device;
          } catch {
            // The one that the directory was read by.
            return false;
          }
        });
      expect(held()).toBe(false);
      let over = false;
      const working = shell('i=0; while [ $i -lt 2000 ]; do echo $i > "$1/f"; i=$((i+1)); done', [at.directory]).finally(() => {
        over = true;
      });
      let seen = false;
      await expect
        .poll(
          () => {
            seen = seen || held();
            return seen || over;
          },
          { interval: 1, timeout: 20_000 },
        )
        .toBe(true);
      await working;
      const there = existsSync(device);
      expect(seen).toBe(wanted && there);
      expect(lines).toEqual(lowLatency && !there ? [expect.stringContaining('low latency: ENOENT')] : []);
      await expect.poll(held, { timeout: 20_000 }).toBe(false);
    },
  );

  test('asks again rather than sleeps while there is much to do, unless told not to; the one before has left off', {
    timeout,
  }, async () => {
    for (const busyPoll of [undefined, 0]) {
      await using at = await mounted('passthrough', busyPoll === undefined ? {} : { busyPoll });
      const before = poller().turns;
      const working = shell('i=0; while [ $i -lt 1000 ]; do echo $i > "$1/f"; i=$((i+1)); done', [at.directory]);
      if (busyPoll === undefined && availableParallelism() > 1)
        await expect.poll(() => poller().turns, { interval: 5, timeout: 20_000 }).toBeGreaterThan(before);
      await working;
      if (busyPoll === 0) expect(poller().turns).toBe(before);
    }
  });

  test('has the kernel read ahead as far as it is told', { timeout }, async () => {
    for (const readAhead of [512, 2048]) {
      await using at = await mounted('passthrough', { readAhead });
      const { stdout } = await shell(`cat "/sys/class/bdi/$(mountpoint -d "$1")/read_ahead_kb"`, [at.directory]);
      expect(stdout).toBe(`${readAhead}\n`);
    }
  });
});

requires('mount', 'setfacl')('a long listing', () => {
  test.each(['passthrough', 'mapped-xattr'] as const)(
    'of %s shows who has an ACL, without asking for each',
    { timeout },
    async (server) => {
      await using at = await mounted(server);
      const marked = async () =>
        (await shell('LC_ALL=C ls -l "$1" | awk \'/^-.*[+]/ { print $NF }\'', [at.directory])).stdout.trim().split('\n');
      await shell('cd "$1"; for i in $(seq -w 300); do echo $i > $i; done; setfacl -m u:1234:r 007 290', [at.directory]);
      expect(await marked()).toEqual(['007', '290']);
      const { bytesOut } = at.client.session.counters;
      expect(await marked()).toEqual(['007', '290']);
      // Two files are asked about; a question for each of the others would take fifty bytes and more.
      expect(at.client.session.counters.bytesOut - bytesOut).toBeLessThan(300 * 20);
      await shell('setfacl -b "$1/007"; setfacl -m g:1234:r "$1/008"', [at.directory]);
      expect(await marked()).toEqual(['008', '290']);
    },
  );
});

requires('mount')('birth times', () => {
  const birth = async (...files: string[]) => (await shell('stat -c %W "$@"', files)).stdout.trim().split('\n');

  test('are the server’s where they are wanted, and known without asking it once more', { timeout }, async () => {
    await using at = await mounted('passthrough', { birthTimes: true });
    await shell('echo content > "$1/old"; touch -d @1000000000 "$1/old"', [at.source]);
    const [there, here] = await birth(`${at.source}/old`, `${at.directory}/old`);
    expect(Number(there)).toBeGreaterThan(1_000_000_000);
    expect(here).toBe(there);
    const { answered } = at.client.session.counters;
    await birth(`${at.directory}/old`);
    expect(at.client.session.counters.answered).toBe(answered);
    expect(at.mount.counters().requests['statx']).toBeGreaterThan(0);
  });

  test('are not asked for otherwise: whoever lists a directory and looks at every file in it costs no request for each', {
    timeout,
  }, async () => {
    await using at = await mounted('passthrough');
    await shell('i=0; while [ $i -lt 50 ]; do echo $i > "$1/$i"; i=$((i+1)); done', [at.source]);
    // The kernel asks once whether it may ask.
    expect(await birth(at.directory)).toEqual(['0']);
    const before = at.mount.counters().requests;
    const { stdout } = await shell('cd "$1"; stat -c %W:%s [0-9]*', [at.directory]);
    expect(new Set(stdout.trim().split('\n'))).toEqual(new Set(['0:2', '0:3']));
    const after = at.mount.counters().requests;
    const asked = (name: string) => (after[name] ?? 0) - (before[name] ?? 0);
    expect({ lookup: asked('lookup'), statx: asked('statx') }).toEqual({ lookup: 0, statx: 0 });
    expect(asked('getattr')).toBeLessThan(5);
  });
});

requires('mount')('locks through mounts', () => {
  test('of ranges keep processes and mounts apart, wait, and end with their process', { timeout }, async () => {
    await using one = await mounted('passthrough');
    const two = await second(one);
    await shell(`head -c 100 /dev/zero > "$1/f"`, [one.directory]);
    const [here, there] = [`${one.directory}/f`, `${two.directory}/f`];
    const first = new Locker(here, 'w', 0, 10);
    expect(await first.says()).toBe('locked');
    const refused = [new Locker(here, 'w', 5, 1), new Locker(there, 'r', 9, 5)];
    for (const each of refused) expect(await each.says()).toBe('refused');
    const beside = [
      new Locker(here, 'w', 10, 10),
      new Locker(there, 'w', 20, 10),
      new Locker(there, 'r', 50, 10),
      new Locker(here, 'r', 55, 10),
    ];
    for (const each of beside) expect(await each.says()).toBe('locked');
    const waiting = new Locker(there, 'w', 0, 10, true);
    const granted = waiting.says();
    const given = new Locker(here, 'w', 0, 5, true);
    given.child.stdout.on('data', () => expect.unreachable('nobody gave it up'));
    await new Promise((resolve) => setTimeout(resolve, 100));
    await given.end('SIGTERM');
    await first.end('SIGKILL');
    expect(await granted).toBe('locked');
    for (const each of [waiting, ...beside]) await each.end();
    const last = new Locker(there, 'w', 0, 0);
    expect(await last.says()).toBe('locked');
    await last.end();
    await two.close();
  });

  test('of whole files by flock', { timeout }, async () => {
    await using one = await mounted('passthrough');
    const two = await second(one);
    await shell(
      `: > "$1/f"; exec 3<"$1/f"; flock -n 3; ! flock -n "$2/f" true; ! flock -n "$1/f" true; flock -u 3; flock -n "$2/f" true
      exec 3<&-; exec 4<"$2/f"; flock -s -n 4; flock -s -n "$1/f" true; ! flock -n "$1/f" true; exec 4<&-
      flock -w 20 "$1/f" true`,
      [one.directory, two.directory],
    );
    await two.close();
  });

  test('local ones hold on this host', { timeout }, async () => {
    await using at = await mounted('passthrough', { locks: 'local' });
    const counters = (): Record<string, number> => at.mount.counters().requests;
    await shell(`: > "$1/f"; exec 3<"$1/f"; flock -n 3; ! flock -n "$1/f" true`, [at.directory]);
    expect(counters()['setlk']).toBeUndefined();
  });

  test('with local ones too what a closed file held is on the server', { timeout }, async () => {
    await using at = await mounted('passthrough', { locks: 'local' });
    await shell(
      'i=0; while [ $i -lt 100 ]; do i=$((i+1)); head -c 100000 /dev/urandom > "$1/new"; [ "$(stat -c %s "$2/new")" = 100000 ]; cmp "$1/new" "$2/new"; rm "$1/new"; done',
      [at.directory, at.source],
    );
  });
});

requires(
  'mount',
  'diod',
  'python3',
)('a mount whose server', () => {
  test('is killed gives EIO at once and can be unmounted', { timeout }, async () => {
    await using root = new TemporaryDirectory('lost');
    await mkdir(root.join('source'));
    const server = await diod(root.join('source'));
    await mkdir(root.join('mount'));
    const client = await connect(server.address(), { polled: true });
    const mounting = await mount(client, root.join('mount'));
    const reader = shell(`cd "$1"; echo x > f; while cat f > /dev/null; do :; done`, [root.join('mount')]);
    await shell(`while [ ! -s "$1/f" ]; do sleep 0.05; done`, [root.join('source')]);
    server.process.child.kill('SIGKILL');
    expect((await reader).stderr).toMatch(/Input\/output error/);
    await expect(shell(`echo x > "$1/g"`, [root.join('mount')])).rejects.toThrow(/Input\/output error/);
    await mounting.unmount({ lazy: true });
    await mounting.done;
    expect(mountsBelow(root.path)).toEqual([]);
    await server.stop();
  });

  test('stands still keeps nobody from being killed, and goes on where it was', { timeout }, async () => {
    await using root = new TemporaryDirectory('still');
    await mkdir(root.join('source'));
    const server = await diod(root.join('source'));
    await mkdir(root.join('mount'));
    const client = await connect(server.address(), { polled: true });
    const mounting = await mount(client, root.join('mount'));
    await shell(`echo x > "$1/f"`, [root.join('mount')]);
    server.process.child.kill('SIGSTOP');
    const killed = spawn('cat', [root.join('mount', 'f')], { stdio: 'ignore' });
    // A signal that it handles changes nothing for it.
    const patient = shell(`trap 'echo noted' USR1; kill -USR1 $$ & cat "$1/f"`, [root.join('mount')]);
    await new Promise((resolve) => setTimeout(resolve, 300));
    killed.kill('SIGTERM');
    await once(killed, 'exit');
    expect(killed.signalCode).toBe('SIGTERM');
    server.process.child.kill('SIGCONT');
    expect((await patient).stdout).toMatch(/x/);
    await mounting.unmount();
    await client.close();
    await server.stop();
  });

  test.each([
    ['writes', 'while True: os.pwrite(fd, bytes(65536), 0)'],
    ['reads', 'os.pwrite(fd, bytes(65536), 0); os.pread(fd, 10, 0)'],
    ['looks', 'os.pwrite(fd, bytes(65536), 0); os.fstat(fd); os.stat(sys.argv[1]); os.open(sys.argv[1], os.O_RDONLY)'],
    ['syncs', 'os.pwrite(fd, bytes(65536), 0); os.fsync(fd)'],
  ])('stands still keeps nobody from being killed who %s behind what is on its way to it', { timeout }, async (_, deed) => {
    await using root = new TemporaryDirectory('still');
    for (const name of ['source', 'mount']) await mkdir(root.join(name));
    const server = await diod(root.join('source'));
    const client = await connect(server.address(), { polled: true });
    const mounting = await mount(client, root.join('mount'));
    const script = `import os, sys\nfd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)\nos.pwrite(fd, b'x', 0)\nos.fsync(fd)\nprint('ready', flush=True)\nsys.stdin.read(1)\n${deed}`;
    const child = spawn('python3', ['-c', script, root.join('mount', 'f')], { stdio: ['pipe', 'pipe', 'inherit'] });
    const exited = once(child, 'exit');
    try {
      await once(child.stdout, 'data');
      server.process.child.kill('SIGSTOP');
      await expect.poll(() => standsStill(server.process.pid)).toBe(true);
      child.stdin.write('x');
      await expect.poll(() => mounting.counters().pending, { timeout: 20_000 }).toBeGreaterThan(0);
      child.kill('SIGKILL');
      const patience = new Promise((resolve) => setTimeout(resolve, 20_000, ['still there']).unref());
      expect(await Promise.race([exited, patience])).toEqual([null, 'SIGKILL']);
    } finally {
      server.process.child.kill('SIGCONT');
      child.kill('SIGKILL');
      await exited;
      await mounting.unmount();
      await client.close();
      await server.stop();
    }
  });
});

requires('mount', 'diod')('a mount of the kernel’s own files', () => {
  for (const [path, script] of [
    [
      '/proc',
      `cmp "$1/version" /proc/version; grep -c processor "$1/cpuinfo"; cat "$1/self/status" | grep -q Name; [ -n "$(cat "$1/sys/kernel/ostype")" ]`,
    ],
    [
      '/sys',
      `cmp "$1/kernel/mm/transparent_hugepage/enabled" /sys/kernel/mm/transparent_hugepage/enabled; ls "$1/class/net"; find "$1/class/net/" -maxdepth 2 | wc -l`,
    ],
  ] as const) {
    test(path, { timeout }, async () => {
      await using root = new TemporaryDirectory('own');
      await using server = await diod(path);
      await mkdir(root.join('mount'));
      const client = await connect(server.address(), { polled: true });
      const mounting = await mount(client, root.join('mount'));
      await shell(script, [root.join('mount')]);
      await unmount(root.join('mount'));
      await mounting.done;
      await client.close();
    });
  }
});

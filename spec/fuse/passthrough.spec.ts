/** Content that the kernel reads and writes by itself, through descriptors that the server passes. */
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { connect } from '../../lib/client/index.js';
import { type MountOptions, mount } from '../../lib/fuse/index.js';
import { node, shell } from '../support/child.js';
import { isLinux, requires } from '../support/requires.js';
import { serve, startNinep } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { holder } from './holder.js';
import { type Mounted, mounted } from './mounted.js';

/** Linux has had it since 6.9. */
const knows = isLinux(6, 9);
const timeout = 120_000;

const backed = (options: MountOptions = {}): Promise<Mounted> => mounted('passthrough', options, true);

const open = (directory: string): number => readdirSync(directory).length;

requires('mount', 'python3')('passthrough', () => {
  test.runIf(knows)('no request for content leaves the kernel', { timeout }, async () => {
    await using at = await backed();
    await shell(
      `cd "$1"
       echo content > f; cat f > /dev/null; echo more >> f; dd if=f of=g bs=1 status=none; cp f h; : > e
       python3 - <<'END'
import mmap
with open('f', 'r+b') as file:
    mapped = mmap.mmap(file.fileno(), 0)
    mapped[0:7] = b'CONTENT'
    mapped.flush()
END
       cat f; cmp g h && cmp -n 0 e h`,
      [at.directory],
    );
    expect(readFileSync(`${at.source}/f`, 'utf8')).toBe('CONTENT\nmore\n');
    const { requests, openFiles, backed: left } = at.mount.counters();
    expect(requests).toMatchObject({ create: expect.any(Number), open: expect.any(Number) });
    expect(requests).not.toHaveProperty('read');
    expect(requests).not.toHaveProperty('write');
    expect([openFiles, left]).toEqual([0, 0]);
  });

  test.runIf(knows)('what is open counts, and every descriptor is closed', { timeout }, async () => {
    await using at = await backed();
    await using shells = await holder(at.directory);
    await shells.tell('exec 3>a 4<>b 5<a');
    expect(at.mount.counters()).toMatchObject({ openFiles: 3, backed: 2 });
    await shells.tell('exec 3>&- 4>&- 5<&-');
    await expect.poll(() => at.mount.counters()).toMatchObject({ openFiles: 0, backed: 0 });
    const before = open('/proc/self/fd');
    await node(
      `import fs from 'node:fs';
       const [at] = process.argv.slice(1);
       for (let n = 0; n < 300; n++) { fs.writeFileSync(at + '/f' + n % 10, 'x'); fs.readFileSync(at + '/f' + n % 10); }
       for (const how of ['r', 'wx']) for (const name of ['missing/x', 'f1'])
         try { fs.closeSync(fs.openSync(at + '/' + name, how)); } catch {}`,
      [at.directory],
    );
    await expect.poll(() => at.mount.counters().backed).toBe(0);
    // The queue of the watched directory is closed when nobody has looked anything up there for a while.
    await expect.poll(() => open('/proc/self/fd'), { timeout: 30_000 }).toBe(before);
  });

  test.runIf(knows)('what is written unseen shows at once in size and times, and in listings', { timeout }, async () => {
    await using at = await backed();
    await shell('cd "$1"; for n in $(seq 20); do echo > f$n; done', [at.source]);
    await using shells = await holder(at.directory);
    // Attributes are told along with the listing, and believed from then on.
    await shells.tell('ls -l >/dev/null; exec 3>>f7 4<>f8');
    await shells.tell('ls -l >/dev/null; echo 123456 >&3; [ "$(stat -c %s f7)" = 8 ]; echo 12 >&3; [ "$(ls -l f7 | cut -d" " -f5)" = 11 ]');
    expect(await shells.tell('ls -l >/dev/null; echo more >&3; LC_ALL=C ls -l | awk \'$NF == "f7" { print $5 }\'')).toBe('16\n');
    await shells.tell('truncate -s 0 f7; echo x >&3; [ "$(stat -c %s f7)" = 2 ]; [ "$(cat f7)" = x ]');
    await shells.tell('m=$(stat -c %y f8); sleep 0.02; printf y >&4; [ "$(stat -c %y f8)" != "$m" ]');
    await shells.tell('ls -l >/dev/null; exec 3>&- 4>&-; echo 4567890 >> f7; [ "$(stat -c %s f7)" = 10 ]');
  });

  test.runIf(knows)('what was seen before a write that nobody here sees is not told after it', { timeout }, async () => {
    await using at = await backed({ entryTimeout: 60_000, attrTimeout: 60_000 });
    await shell('cd "$1"; for n in $(seq 40); do echo > f$n; ln f$n g$n; ln f$n h$n; done', [at.source]);
    await using shells = await holder(at.directory);
    // An open sees the attributes, and tells them to who asks next.
    await shells.tell('[ -f f1 ] && [ -f f2 ]');
    await shells.tell(
      'python3 -c \'import os; fd = os.open("f1", os.O_RDWR); os.pwrite(fd, b"12345", 0); exit(os.fstat(fd).st_size != 5)\'',
    );
    // Who looks at some names of a directory is told of the others from what was seen of all of them: other names of the same files.
    await shells.tell('exec 3>>f2; for n in $(seq 3 40); do [ -f f$n ]; done');
    await shells.tell('echo 123 >&3; [ "$(stat -c %s g2)" = 5 ]');
    await shells.tell('echo 123 >&3; exec 3>&-; [ "$(stat -c %s h2)" = 9 ]');
    expect(at.mount.counters().requests).not.toHaveProperty('write');
  });

  test.runIf(knows)('what was cached before is not shown any more', { timeout }, async () => {
    await using at = await backed();
    await using plain = await mounted('passthrough');
    expect((await shell('echo one > "$1/f"; cat "$1/f"', [plain.directory])).stdout).toBe('one\n');
    expect(plain.mount.counters()).toMatchObject({ backed: 0, requests: { write: 1 } });
    await using shells = await holder(at.directory);
    await shells.tell('echo one > f; exec 3<f; cat <&3; echo two > f; [ "$(cat f)" = two ]');
    await shells.tell('mv f g; echo three > f; [ "$(cat f g)" = "$(printf "three\\ntwo")" ]; rm g f; exec 3<&-');
  });

  test.runIf(knows)('reads and writes go on while the server is away, and a file that is locked stays locked', { timeout }, async () => {
    await using root = new TemporaryDirectory('passthrough');
    const [source, directory, socket] = [root.join('source'), root.join('mount'), root.join('socket')];
    for (const each of [source, directory]) await mkdir(each);
    const start = () => startNinep(['serve', '--export', `${source},aname=tree`, '--listen', `unix:${socket}`], /serving/);
    let server = await start();
    const mounting = await startNinep(['mount', '--foreground', `unix:${socket}?aname=tree`, directory], /mounted at/);
    try {
      await using shells = await holder(directory);
      await shells.tell('echo before > f; exec 3<>f 4>>f');
      await server.stop();
      await shells.tell('[ "$(cat <&3)" = before ]; echo after >&4');
      expect(readFileSync(`${source}/f`, 'utf8')).toBe('before\nafter\n');
      server = await start();
      await shells.tell(
        'flock 4; [ "$(cat f)" = "$(printf "before\\nafter")" ]; if flock -n f true; then false; fi; exec 3>&- 4>&-; flock -n f true',
      );
    } finally {
      await mounting.stop();
      await server.stop();
    }
  });

  test.runIf(knows)(
    'set-user-ID goes with a write by another, also where it was set while that had the file open',
    { timeout },
    async () => {
      await using at = await backed({ nosuid: false });
      await using shells = await holder(at.directory);
      await shells.tell('echo x > f; chmod 777 f; exec 3>>f; chmod 4777 f');
      await shells.tell('setpriv --reuid 65534 --regid 65534 --clear-groups sh -c "echo y >&3"; exec 3>&-');
      expect((await shell('stat -c %a "$1/f"', [at.source])).stdout).toBe('777\n');
      // One that has it already is read and written by requests, which say who writes.
      await shells.tell('chmod 6777 f; exec 3>>f');
      expect(at.mount.counters()).toMatchObject({ openFiles: 1, backed: 0 });
      await shells.tell('exec 4<f; [ "$(cat <&4)" = "$(printf "x\\ny")" ]');
      expect(at.mount.counters()).toMatchObject({ openFiles: 2, backed: 0 });
      await shells.tell('exec 3>&- 4>&-; chmod 777 f; exec 3>>f');
      await expect.poll(() => at.mount.counters()).toMatchObject({ openFiles: 1, backed: 1 });
    },
  );

  test.runIf(knows)('an open file decides for those after it', { timeout }, async () => {
    await using root = new TemporaryDirectory('passthrough');
    const [source, directory, socket] = [root.join('source'), root.join('mount'), root.join('socket')];
    for (const each of [source, directory]) await mkdir(each);
    const start = (lend: string) =>
      startNinep(['serve', '--export', `${source},aname=tree,lend=${lend}`, '--listen', `unix:${socket}`], /serving/);
    let server = await start('off');
    const client = await connect(`unix:${socket}?aname=tree`, { polled: true, descriptors: true, retry: 60 });
    const mounting = await mount(client, directory);
    try {
      await using shells = await holder(directory);
      await shells.tell('echo one > f; exec 3<f; cat <&3');
      expect(mounting.counters()).toMatchObject({ openFiles: 1, backed: 0 });
      await server.stop();
      server = await start('on');
      // The first question after a loss finds out what the new conversation can do.
      await shells.tell('ls > /dev/null; echo x > g; [ "$(cat g)" = x ]; exec 4<>f');
      expect(mounting.counters()).toMatchObject({ openFiles: 2, backed: 0 });
      await shells.tell('echo two >&4; [ "$(cat f)" = two ]; exec 3<&- 4>&-');
      await shells.tell('exec 3<>f');
      await expect.poll(() => mounting.counters()).toMatchObject({ openFiles: 1, backed: 1 });
      await server.stop();
      server = await start('off');
      await shells.tell('ls > /dev/null; exec 4<f; [ "$(cat <&4)" = two ]; echo three >&3; [ "$(cat f)" = three ]');
      expect(mounting.counters()).toMatchObject({ openFiles: 2, backed: 1 });
      await shells.tell('exec 3>&- 4<&-');
    } finally {
      await mounting.unmount();
      await client.close();
      await server.stop();
    }
  });

  test('where it cannot be, or is not wanted, the content is asked for', { timeout }, async () => {
    const use = async (at: Mounted): Promise<void> => {
      await using shells = await holder(at.directory);
      await shells.tell('echo content > f; exec 3<f; [ "$(cat <&3)" = content ]');
      expect(at.mount.counters()).toMatchObject({ openFiles: 1, backed: 0 });
      await shells.tell('exec 3<&-');
      expect(at.mount.counters().requests).toHaveProperty('write');
    };
    for (const options of [{ passthrough: false }, { cache: 'none' }, { cache: 'loose' }, { sync: true }] satisfies MountOptions[]) {
      await using at = await backed(options);
      await use(at);
    }
    // A server of somebody else's has no such attribute; ours passes nothing to who does not take it.
    await using at = await mounted('passthrough');
    await use(at);
  });

  test.runIf(knows)('the mount of the command line does it by itself, unless told not to', { timeout }, async () => {
    await using root = new TemporaryDirectory('passthrough');
    const [source, directory] = [root.join('source'), root.join('mount')];
    for (const each of [source, directory]) await mkdir(each);
    await using server = await serve(`${source},aname=tree,security_model=none`);
    for (const [options, expected] of [
      [[], 1],
      [['-o', 'passthrough=off'], 0],
    ] as const) {
      const mounting = await startNinep(['mount', '--foreground', server.address('tree'), directory, ...options], /mounted at/);
      try {
        await using shells = await holder(directory);
        await shells.tell('exec 3>f');
        process.kill(mounting.pid, 'SIGUSR1');
        await expect.poll(() => mounting.stderr).toContain(`"backed":${expected}`);
        await shells.tell('exec 3>&-');
      } finally {
        await mounting.stop();
      }
    }
  });
});

import { chmodSync, lstatSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { run } from '../support/child.js';
import { bootGuest, type Guest } from '../support/guest/guest.js';
import { stressProgram } from '../support/guest/stress.js';
import { launch } from '../support/launcher.js';
import { Random } from '../support/random.js';
import { requires } from '../support/requires.js';
import { type NinepServe, serve } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';

vi.setConfig({ testTimeout: 600_000, hookTimeout: 300_000 });

interface Way {
  name: string;
  model: 'passthrough' | 'mapped-xattr' | 'mapped-file' | 'none';
  msize: number;
  cache: 'none' | 'loose' | 'mmap';
  /** Files in one directory: more than one message lists, where there is no cache. An emulated processor takes its time for each. */
  many: number;
}

/** 1 MiB is the most that Linux asks for over tcp (net/9p/trans_fd.c, MAX_SOCK_BUF). */
const ways: Way[] = [
  { name: 'none-64K', model: 'passthrough', msize: 65536, cache: 'none', many: 5000 },
  { name: 'none-1M', model: 'mapped-xattr', msize: 1 << 20, cache: 'none', many: 1000 },
  { name: 'loose-1M', model: 'passthrough', msize: 1 << 20, cache: 'loose', many: 1000 },
  { name: 'mmap-64K', model: 'mapped-file', msize: 65536, cache: 'mmap', many: 1000 },
];

const FILES = `
mkdir dir
echo hello > dir/a
[ "$(cat dir/a)" = hello ]
echo again >> dir/a
[ "$(wc -l < dir/a)" = 2 ]
mv dir/a dir/b
not test -e dir/a
exec 3< dir/b
mv dir renamed
[ "$(cat renamed/b | head -n 1)" = hello ]
read -r line <&3
[ "$line" = hello ]
exec 3<&-
ln renamed/b hard
[ "$(stat -c %h hard)" = 2 ]
[ "$(stat -c %i hard)" = "$(stat -c %i renamed/b)" ]
ln -s renamed/b soft
[ "$(readlink soft)" = renamed/b ]
cmp soft hard
mkfifo fifo
[ -p fifo ]
mknod null c 1 3
[ "$(stat -c '%F %t %T' null)" = 'character special file 1 3' ]
chmod 4750 hard
chown 1000:1001 hard
[ "$(stat -c '%a %u %g' renamed/b)" = '4750 1000 1001' ] || [ "$(stat -c '%a %u %g' renamed/b)" = '750 1000 1001' ]
touch -d '2020-01-02 03:04:05' hard
[ "$(stat -c %Y hard)" = 1577934245 ]
truncate -s 3 hard
[ "$(cat renamed/b)" = hel ]
truncate -s 3000000000 sparse
[ "$(stat -c %s sparse)" = 3000000000 ]
printf x | dd of=sparse bs=1 seek=2999999999 conv=notrunc 2> /dev/null
[ "$(dd if=sparse bs=1 skip=2999999999 2> /dev/null)" = x ]
long=$(head -c 255 /dev/zero | tr '\\0' n)
echo long > "$long"
[ "$(cat "$long")" = long ]
not touch "n$long" 2> /dev/null
echo é > 'Größe und  Abstand'
[ "$(cat 'Größe und  Abstand')" = é ]
deep=$(seq -s / 1 40)
mkdir -p "$deep"
echo bottom > "$deep/file"
[ "$(cat "$deep/file")" = bottom ]
[ "$(cd "$deep/../.." && ls)" = 39 ]
not cat absent 2> /dev/null
not rmdir renamed 2> /dev/null
tar c renamed 'Größe und  Abstand' 1 | tar x -C /tmp
diff -r 1 /tmp/1
rm -r /tmp/1
df . > /dev/null
dd if=/dev/urandom of=/tmp/big bs=1M count=8 2> /dev/null
cp /tmp/big big
sync
cmp big /tmp/big
[ "$(md5sum < big)" = "$(md5sum < /tmp/big)" ]
rm /tmp/big
`;

const XATTRS = `
echo x > attributes
setfattr -n user.color -v blue attributes
[ "$(getfattr --only-values -n user.color attributes)" = blue ]
setfattr -n user.large -v "$(head -c 3000 /dev/zero | tr '\\0' l)" attributes
[ "$(getfattr --only-values -n user.large attributes | wc -c)" = 3000 ]
setfattr -x user.color attributes
not getfattr -n user.color attributes 2> /dev/null
rm attributes
`;

/** Linux asks for them by itself, keeps them in step with the modes, and hands the inherited ones down. */
const ACLS = `
echo x > listed
chmod 640 listed
setfacl -m u:1000:rw listed
getfacl -cnE listed | grep -qx 'user:1000:rw-'
[ "$(stat -c %a listed)" = 660 ]
chmod 600 listed
getfacl -cnE listed | grep -qx 'mask::---'
setfacl -b listed
[ -z "$(getfacl -cnE listed | grep user:1000)" ]
mkdir heirs
setfacl -d -m u:1000:rwx heirs
mkdir heirs/directory
echo x > heirs/file
getfacl -cnE heirs/directory | grep -qx 'default:user:1000:rwx'
getfacl -cnE heirs/file | grep -q '^user:1000:'
rm -r listed heirs
`;

requires(
  'guest',
  'gcc',
  'setfattr',
  'setfacl',
  'root',
)('Linux mounts ninep serve over tcp', () => {
  const directory = new TemporaryDirectory('linux');
  const { seed } = new Random();
  let server: NinepServe;
  let guest: Guest;
  let stress: string;

  beforeAll(async () => {
    stress = await stressProgram();
    for (const { name } of ways) {
      mkdirSync(directory.join(name));
      chmodSync(directory.join(name), 0o777);
    }
    server = await serve(
      ways.map(({ name, model }) => `${directory.join(name)},aname=${name},security_model=${model}`),
      { tcp: '127.0.0.1' },
    );
    const steps: Record<string, string> = {};
    for (const { name, msize, cache, many } of ways) {
      const options = `trans=tcp,port=${server.port},version=9p2000.L,msize=${msize},cache=${cache},aname=${name},access=client,posixacl`;
      const step = (topic: string, script: string): void => {
        // A failure behind "!" does not end a shell; that of a function does.
        steps[`${name}-${topic}`] = `not() { ! "$@"; }\ncd /mnt/${name}\n${script}`;
      };
      steps[`${name}-mount`] = `mkdir /mnt/${name}; mount -t 9p -o ${options} 10.0.2.2 /mnt/${name}; grep /mnt/${name} /proc/mounts`;
      step('files', FILES);
      step('xattrs', XATTRS);
      step('acls', ACLS);
      step('remove', 'rm -rf ..?* .[!.]* *; [ "$(ls -A)" = "" ]');
      step('work', `mkdir work; stress work work ${seed} 600; rmdir work`);
      step('many', `mkdir many; stress many many ${many}; rm -rf many; not test -e many`);
      // Without a cache Linux maps 9p files for reading or privately only.
      step('mmap', `stress mmap . private; ${cache === 'none' ? '' : 'stress mmap .'}`);
      step('unlinked', 'stress unlinked .');
      step('locks', 'stress locks .');
      step('try', 'stress try shared 5 1; stress try shared 20 10');
      step(
        'hold',
        'mkfifo /tmp/hold; sleep 1000 > /tmp/hold & echo $! > /tmp/holder; stress hold shared 10 10 < /tmp/hold > /tmp/held & until grep -q held /tmp/held; do sleep 0.1; done',
      );
      step('release', 'kill $(cat /tmp/holder); while pidof stress > /dev/null; do sleep 0.1; done; rm /tmp/hold /tmp/held');
      steps[`${name}-unmount`] = `umount /mnt/${name}`;
    }
    guest = await bootGuest({ steps, programs: [stress, 'setfattr', 'getfattr', 'setfacl', 'getfacl'] });
  });

  afterAll(async () => {
    await guest?.kill();
    await server?.stop();
    directory.remove();
  });

  describe.each(ways.map((way) => [`cache=${way.cache}, msize ${way.msize}, ${way.model}`, way] as const))(
    '%s',
    (_, { name, model, cache, many }) => {
      const step = (topic: string): Promise<string> => guest.step(`${name}-${topic}`, 580_000);
      const onDisk = (...names: string[]): string => directory.join(name, ...names);

      test('mounts', async () => {
        // No cache is what Linux does unless told, and does not mention.
        expect(await step('mount')).toContain(cache === 'none' ? `aname=${name}` : `,${cache},`);
      });

      test('files, links, modes, times, names', async () => {
        await step('files');
        expect(readFileSync(onDisk('renamed', 'b'), 'utf8')).toBe('hel');
        expect(statSync(onDisk('sparse')).size).toBe(3_000_000_000);
        expect(lstatSync(onDisk('null')).isCharacterDevice()).toBe(model === 'passthrough');
        expect(lstatSync(onDisk('soft')).isSymbolicLink()).toBe(model === 'passthrough');
        if (model === 'mapped-file') expect(readFileSync(onDisk('.virtfs_metadata', 'null'), 'utf8')).toContain('virtfs.rdev=');
        expect(readdirSync(onDisk())).toContain('Größe und  Abstand');
      });

      // mapped-file has no place for them on a file system that has none itself; here the disk decides.
      test('extended attributes', async () => {
        await step('xattrs');
      });

      test('access control lists', async () => {
        await step('acls');
      });

      test('removes trees', async () => {
        await step('remove');
        expect(readdirSync(onDisk()).filter((one) => !one.startsWith('.virtfs_metadata'))).toEqual([]);
      });

      test(`random work, seed ${seed}`, async () => {
        expect(await step('work')).toContain('work ok');
      });

      test(`${many} files, and rm -rf`, async () => {
        expect(await step('many')).toContain('many ok');
      });

      test('mmap', async () => {
        expect(await step('mmap')).toContain('mmap ok');
      });

      test('a file removed while it is open', async () => {
        expect(await step('unlinked')).toContain('unlinked ok');
      });

      test('byte ranges between processes of the guest', async () => {
        expect(await step('locks')).toContain('locks ok');
      });

      test('byte ranges between the guest and the host', async () => {
        writeFileSync(onDisk('shared'), 'x'.repeat(100));
        chmodSync(onDisk('shared'), 0o666);
        const tries = async (start: number, length: number): Promise<string> =>
          (await run(stress, ['try', onDisk('shared'), String(start), String(length)])).stdout.trim();
        {
          await using _holder = await launch({
            command: stress,
            args: ['hold', onDisk('shared'), '0', '10'],
            ready: { line: /held/ },
            stdio: ['pipe', 'pipe', 'pipe'],
          });
          expect(await step('try')).toBe('held\nfree\n');
        }
        expect(await step('try')).toBe('free\nfree\n');
        await step('hold');
        expect([await tries(15, 1), await tries(0, 10), await tries(20, 0)]).toEqual(['held', 'free', 'free']);
        await step('release');
        expect(await tries(15, 1)).toBe('free');
      });

      test('unmounts', async () => {
        await step('unmount');
      });
    },
  );
});

/** Two mounts of one server's tree: what one of them does, the other sees. */
import { mkdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { run } from '../support/child.js';
import type { ServerProcess } from '../support/launcher.js';
import { requires } from '../support/requires.js';
import { type NinepServe, serve, startNinep } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';

/** Enough for many of them to lie across the end of a page. */
const LINES = 2000;

requires(
  'mount',
  'setfacl',
  'getfacl',
)('two mounts of one server', () => {
  const root = new TemporaryDirectory('pair');
  const [source, one, other] = [root.join('source'), root.join('one'), root.join('other')];
  let server: NinepServe;
  const mounts: ServerProcess[] = [];

  beforeAll(async () => {
    for (const each of [source, one, other]) mkdirSync(each);
    server = await serve(`${source},security_model=passthrough,aname=tree`);
    for (const each of [one, other]) mounts.push(await startNinep(['mount', '--foreground', server.address('tree'), each], /mounted at/));
  });

  afterAll(async () => {
    for (const mount of mounts) await mount.stop();
    await server?.stop();
    root.remove();
  });

  const shell = async (script: string): Promise<string> => (await run('sh', ['-euc', script, 'sh', one, other])).stdout;

  it('lose no line that both append to one file', async () => {
    const append = (who: string, at: string) =>
      run('sh', ['-euc', `exec 3>>"$1/log"; i=0; while [ $i -lt ${LINES} ]; do echo "${who} $i" >&3; i=$((i+1)); done`, 'sh', at]);
    await Promise.all([append('one', one), append('other', other)]);
    const lines = readFileSync(`${source}/log`, 'utf8').trimEnd().split('\n');
    for (const who of ['one', 'other']) {
      expect(lines.filter((line) => line.startsWith(`${who} `))).toEqual(Array.from({ length: LINES }, (_, index) => `${who} ${index}`));
    }
    expect(lines).toHaveLength(2 * LINES);
  });

  it('show at the next open what a closed file holds, however often it changes', async () => {
    const script = `i=0; while [ $i -lt 100 ]; do
      echo "content $i" > "$1/file"; [ "$(cat "$2/file")" = "content $i" ]
      echo "more $i" >> "$2/file"; [ "$(tail -n 1 "$1/file")" = "more $i" ]
      i=$((i+1)); done; echo seen`;
    expect(await shell(script)).toBe('seen\n');
  });

  it('show whoever gets a lock what was written under it before, through a file that both keep open', async () => {
    const script = `
      const fs = require('fs'), { spawnSync } = require('child_process');
      const ends = process.argv.slice(1).map((at) => fs.openSync(at + '/counted', 'a+'));
      const files = process.argv.slice(1).map((at) => fs.openSync(at + '/counted', 'r+'));
      const flock = (fd, how) => {
        if (spawnSync('flock', [how, '3'], { stdio: ['ignore', 'inherit', 'inherit', fd] }).status !== 0) throw new Error('flock');
      };
      const read = (fd) => {
        const line = Buffer.alloc(8);
        fs.readSync(fd, line, 0, 8, 0);
        return Number(line.toString());
      };
      fs.writeSync(files[0], '00000000', 0);
      for (const fd of files) read(fd);
      for (let i = 0; i < 20; i++) {
        const fd = files[i % 2];
        flock(fd, '-x');
        const [count, size] = [read(fd), fs.fstatSync(fd).size];
        if (count !== i || size !== 8 + i) throw new Error(\`\${i}: reads \${count}, \${size} bytes\`);
        fs.writeSync(fd, String(i + 1).padStart(8, '0'), 0);
        fs.writeSync(ends[i % 2], '.');
        flock(fd, '-u');
      }`;
    await run(process.execPath, ['-e', script, one, other]);
  });

  it('know the same access control lists', async () => {
    const script = 'touch "$1/acl"; setfacl -m u:1234:rw,g:77:r "$1/acl"; getfacl -cn "$2/acl"';
    expect((await shell(script)).trim().split('\n')).toEqual([
      'user::rw-',
      'user:1234:rw-',
      'group::r--',
      'group:77:r--',
      'mask::rw-',
      'other::r--',
    ]);
  });
});

import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { ensureBuilt, root } from '../support/build.js';
import { run } from '../support/child.js';

const module_ = JSON.stringify(join(root, 'dist', 'lib', 'sys', 'exec.js'));

beforeAll(() => ensureBuilt());

const script = (text: string) => ['--input-type=module', '-e', `import { exec } from ${module_};\n${text}`];

test('another program in the same process, with its environment and streams', async () => {
  const { stdout } = await run(
    process.execPath,
    script(`
      process.env.GIVEN = 'as it is now';
      process.on('exit', () => console.log('never'));
      console.log(process.pid);
      exec('/bin/sh', ['a name', '-c', 'echo "$$"; echo "$0,$1,$GIVEN"; cat', '', 'two words']);`),
    { input: 'from stdin' },
  );
  const [before, after, words, rest] = stdout.split('\n');
  expect(after).toBe(before);
  expect([words, rest]).toEqual([',two words,as it is now', 'from stdin']);
});

test('what cannot be run throws, and the process goes on', async () => {
  const { stdout } = await run(
    process.execPath,
    script(`
      for (const file of ['/nowhere', '/etc/passwd']) {
        try {
          exec(file, [file]);
        } catch (error) {
          console.log(error.code, error.syscall, error.path);
        }
      }`),
  );
  expect(stdout).toBe('ENOENT execve /nowhere\nEACCES execve /etc/passwd\n');
});

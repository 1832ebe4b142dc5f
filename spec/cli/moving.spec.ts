import { mkdirSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type RunResult, run } from '../support/child.js';
import { type NinepServe, ninep, ninepInTurn, serve } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';

describe('mv', () => {
  let directory: TemporaryDirectory;
  let servers: NinepServe[];

  beforeEach(async () => {
    directory = new TemporaryDirectory('moving');
    for (const name of ['one', 'two', 'here']) mkdirSync(directory.join(name));
    servers = await Promise.all(['one', 'two'].map((name) => serve(directory.join(name))));
  });
  afterEach(async () => {
    for (const server of servers) await server.stop();
    directory.remove();
  });

  const shell = (script: string): Promise<RunResult> => run('bash', ['-euc', script], { cwd: directory.path });
  /** All there is: names and contents. */
  const state = async (): Promise<string> => (await shell('find . -printf "%p %y %l\n" -type f -exec cat {} + | sort')).stdout;
  /** `1/x` and `2/x` are the servers' /x, anything else is below the directory. */
  const place = (word: string): string => {
    const [, which = '', path = ''] = /^([12])(\/.*)$/.exec(word) ?? [];
    return which === '' ? directory.join(word) : `${servers[Number(which) - 1]?.address()}#${path}`;
  };

  const kinds = {
    ENOTEMPTY: [
      ['1/d', '1/into'],
      ['1/d', '2/into'],
      ['1/d', 'here/into'],
      ['here/d', '2/into'],
    ],
    ENOTDIR: [
      ['1/d', '1/file/'],
      ['1/d', '1/file'],
      ['1/d', '2/file'],
      ['here/d', '2/file'],
    ],
    EISDIR: [
      ['1/file', '1/over'],
      ['1/file', '2/over'],
      ['here/file', '2/over'],
      ['here/soft', '2/over'],
    ],
    EBUSY: [
      ['1/', '1/y'],
      ['1/', '2/y'],
      ['1/', 'here/y'],
      ['1/d/..', '1/y'],
    ],
    EINVAL: [
      ['1/d', '1/d/y'],
      ['1/d', '1/round/d/y'],
      ['here/d', 'here/d/y'],
    ],
    ENOENT: [
      ['1/d', '1/absent/y'],
      ['1/file', '2/absent/y'],
      ['1/none', '2/y'],
    ],
  };

  it.each(Object.entries(kinds))('refuses what rename(2) does, between servers as on one, also in a dry run: %s', async (why, lines) => {
    await shell(`for at in one two here; do
      (cd $at; mkdir -p d/sub into/d/sub over/file/x over/soft; echo $at > d/sub/f; echo kept > into/d/sub/f; echo $at > file; ln -s file soft; ln -s . round)
    done`);
    const before = await state();
    const words = lines.flatMap(([from = '', to = '']) => [
      [from, to],
      ['--dry-run', from, to],
    ]);
    const results = await ninepInTurn(words.map((line) => ['mv', ...line.map((word) => (word.startsWith('-') ? word : place(word)))]));
    for (const [index, { code, stdout, stderr }] of results.entries()) {
      const line = (words[index] ?? []).join(' ');
      expect([line, code, stdout, stderr]).toEqual([line, 1, '', expect.stringMatching(`^ninep: .* \\(${why}\\)\n$`)]);
    }
    expect(await state()).toBe(before);
  });

  it('takes the place of an empty directory, and of a file', async () => {
    await shell('mkdir -p one/d/sub two/into/d here/into/d; echo new > one/d/sub/f; echo old > two/f');
    await ninep(['mv', place('1/d/'), place('2/into')]);
    await ninep(['mv', place('2/into/d'), directory.join('here/into')]);
    await ninep(['mv', directory.join('here/into/d/sub/f'), place('2/f')]);
    expect((await shell('find one here two -mindepth 1 | sort; cat two/f')).stdout.split('\n')).toEqual([
      'here/into',
      'here/into/d',
      'here/into/d/sub',
      'two/f',
      'two/into',
      'new',
      '',
    ]);
  });
});

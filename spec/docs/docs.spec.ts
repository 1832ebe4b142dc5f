import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { allCommands } from '../../cli/commands/index.js';
import { root } from '../support/build.js';
import { run } from '../support/child.js';
import { serve } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { apiReference } from './api.js';
import { blocksOf, ninepLines } from './blocks.js';
import { checkLine, cliReadme, examplesOf, nameOf } from './cli.js';

const read = (name: string) => readFileSync(join(root, name), 'utf8');

/** The text of a generated file, or of a generated part, must be what it would be if it were generated now. */
function expectGenerated(name: string, now: string): void {
  if (process.env['NINEP_UPDATE']) writeFileSync(join(root, name), now);
  expect(read(name)).toBe(now);
}

it('cli/README.md is what the commands say', async () => {
  expectGenerated('cli/README.md', await cliReadme());
});

it('the API reference in lib/README.md is what the doc comments say', () => {
  const text = read('lib/README.md');
  const [before = ''] = text.split(/^## Reference$/m);
  expectGenerated('lib/README.md', `${before}## Reference\n\n${apiReference()}`);
});

describe('command lines in the documentation are ones that ninep takes', () => {
  const lines = ['README.md', 'lib/README.md', 'spec/README.md']
    .flatMap((name) => blocksOf(read(name)).filter(({ language }) => language === 'sh' || language === 'ini'))
    .flatMap(({ text }) => ninepLines(text.replaceAll('ExecStart=/usr/bin/ninep', 'ninep')));

  it('there are some', () => {
    expect(lines.length).toBeGreaterThan(10);
  });

  it.each(lines.map((words) => [words.join(' '), words] as const))('ninep %s', async (_line, words) => {
    await checkLine(words.map((word) => (word === '-fsdev' ? '--fsdev' : word)));
  });
});

describe.each((await allCommands()).map((command) => [nameOf(command), command] as const))(
  'the examples in the help of ninep %s',
  (name, command) => {
    it('are command lines that ninep takes', async () => {
      const examples = await examplesOf(command);
      expect(examples.some((line) => line.includes(`ninep ${name}`))).toBe(true);
      for (const line of examples) for (const words of ninepLines(line)) await checkLine(words);
    });
  },
);

describe('programs in the documentation run', () => {
  const programs = ['README.md'].flatMap((name) => blocksOf(read(name))).filter(({ language }) => language === 'ts');

  it('there are some', () => {
    expect(programs.length).toBeGreaterThan(1);
  });

  it.each(programs.map(({ text }, index) => [index, text] as const))('program %d of README.md', async (_index, text) => {
    await using directory = new TemporaryDirectory('docs');
    mkdirSync(directory.join('etc'));
    writeFileSync(directory.join('etc/hosts'), '127.0.0.1 localhost\n');
    await using server = await serve(`${directory.path},aname=docs`);
    const program = text
      .replaceAll(/'(?:tcp|unix):[^']*'/g, JSON.stringify(server.address('docs')))
      .replaceAll("from 'ninep'", `from ${JSON.stringify(join(root, 'dist/lib/index.js'))}`);
    writeFileSync(directory.join('program.mts'), program);
    const { stdout } = await run(process.execPath, ['--import', 'tsx', directory.join('program.mts')], { cwd: root });
    if (text.includes('console.log')) expect(stdout).toContain('hello');
  });
});

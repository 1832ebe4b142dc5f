/** Habits of programs that are not at hand everywhere, played in Node. Each is an ES module run by itself: its arguments are the directory, one on the local disk, and the scale. */

interface Played {
  readonly source: string;
  readonly needs?: readonly ('locks' | 'mapping')[];
}

const head = `
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { fork, spawn } from 'node:child_process';
const [here, local, text] = process.argv.slice(1);
const scale = JSON.parse(text);
process.chdir(here);
/** Runs more source in a process of its own; resolves when it has ended well. */
const beside = (source, ...args) => new Promise((resolve, reject) => {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', "import fs from 'node:fs'; const args = process.argv.slice(1);" + source, '--', ...args.map(String)], { stdio: ['ignore', 'inherit', 'inherit'] });
  child.once('exit', (code, signal) => code === 0 ? resolve() : reject(new Error('a process beside ended with ' + (code ?? signal))));
});
`;

export const inNode: Readonly<Record<string, Played>> = {
  'write, fsync, rename, fsync of the directory, while others read': {
    source: `${head}
const readers = [1, 2].map(() => beside(\`
  let last = -1;
  while (last < 99) {
    let content;
    try { content = fs.readFileSync('state', 'utf8'); } catch (error) { if (error.code === 'ENOENT' && last === -1) continue; throw error; }
    const lines = content.split('\\\\n');
    const n = Number(lines[0]);
    if (lines.length !== 1001 || lines.slice(0, 1000).some((line) => line !== lines[0])) throw new Error('half a file: ' + content.length + ' bytes');
    if (n < last) throw new Error('went back from ' + last + ' to ' + n);
    last = n;
  }\`));
for (let n = 0; n < 100; n++) {
  const fd = fs.openSync('state.tmp', 'w');
  fs.writeSync(fd, (n + '\\n').repeat(1000));
  fs.fsyncSync(fd);
  fs.closeSync(fd);
  fs.renameSync('state.tmp', 'state');
  const directory = fs.openSync('.', 'r');
  fs.fsyncSync(directory);
  fs.closeSync(directory);
}
await Promise.all(readers);
`,
  },
  'O_APPEND from two processes loses no line': {
    source: `${head}
await Promise.all([1, 2].map((who) => beside(\`
  const fd = fs.openSync('log', 'a');
  for (let n = 0; n < 500; n++) fs.writeSync(fd, args[0] + ' ' + String(n).padStart(20, '0') + '\\\\n');
\`, who)));
const lines = fs.readFileSync('log', 'utf8').trimEnd().split('\\n');
assert.equal(lines.length, 1000);
for (const who of [1, 2]) assert.deepEqual(lines.filter((line) => line.startsWith(who + ' ')).map((line) => Number(line.slice(2))), Array.from({ length: 500 }, (_, n) => n));
`,
  },
  'a large directory, listed while it changes': {
    source: `${head}
const name = (n) => 'entry-' + n + '-' + 'x'.repeat(n % 50);
fs.mkdirSync('big');
for (let n = 0; n < scale.entries; n++) fs.closeSync(fs.openSync('big/' + name(n), 'w'));
assert.equal(fs.readdirSync('big').length, scale.entries);
const seen = new Map();
// Where a listing does not tell types, Node asks for each: for one that is gone meanwhile it throws, and with it what else it had read.
const directory = fs.opendirSync('big', { bufferSize: 1 });
const next = () => {
  for (;;) {
    try {
      return directory.readSync();
    } catch (error) {
      if (error.code !== 'ENOENT') throw error;
    }
  }
};
let step = 0;
for (let entry = next(); entry !== null; entry = next()) {
  seen.set(entry.name, (seen.get(entry.name) ?? 0) + 1);
  // Of every ten names the last goes away, new ones come, while the listing goes on.
  if (++step % 20 === 0) {
    const n = 10 * Math.floor(step / 20) + 9;
    if (n < scale.entries) fs.unlinkSync('big/' + name(n));
    fs.closeSync(fs.openSync('big/new-' + step, 'w'));
  }
}
directory.closeSync();
for (let n = 0; n < scale.entries; n++) if (n % 10 !== 9) assert.ok(seen.has(name(n)), name(n) + ' stayed and is missing');
for (const [entry, count] of seen) assert.equal(count, 1, entry + ' is listed ' + count + ' times');
fs.rmSync('big', { recursive: true });
assert.deepEqual(fs.readdirSync('.'), []);
`,
  },
  'files that are open while they have no name': {
    source: `${head}
const held = [];
for (let n = 0; n < 50; n++) {
  const fd = fs.openSync('f' + n, 'w+');
  fs.writeSync(fd, 'content ' + n);
  held.push(fd);
}
for (let n = 0; n < 50; n++) fs.unlinkSync('f' + n);
assert.deepEqual(fs.readdirSync('.'), []);
for (const [n, fd] of held.entries()) {
  assert.equal(fs.fstatSync(fd).nlink, 0);
  const b = Buffer.alloc(100);
  assert.equal(b.toString('utf8', 0, fs.readSync(fd, b, 0, 100, 0)), 'content ' + n);
  fs.ftruncateSync(fd, 3);
  assert.equal(fs.fstatSync(fd).size, 3);
  fs.fchmodSync(fd, 0o600);
  fs.writeSync(fd, 'more', 100000);
  fs.fsyncSync(fd);
  assert.equal(fs.fstatSync(fd).size, 100004);
  fs.closeSync(fd);
}
`,
  },
  'fs.cp and fs.rm of Node, and many promises at once': {
    source: `${head}
const { promises } = fs;
await promises.mkdir('a/b/c', { recursive: true });
await Promise.all(Array.from({ length: 300 }, (_, n) => promises.writeFile('a/b/c/f' + n, 'x'.repeat(n))));
await promises.cp('a', 'copy', { recursive: true, preserveTimestamps: true });
const sizes = await Promise.all(Array.from({ length: 300 }, async (_, n) => (await promises.stat('copy/b/c/f' + n)).size));
assert.deepEqual(sizes, Array.from({ length: 300 }, (_, n) => n));
await Promise.all(Array.from({ length: 300 }, (_, n) => promises.rename('copy/b/c/f' + n, 'copy/b/g' + n)));
await Promise.all([promises.rm('a', { recursive: true }), promises.rm('copy', { recursive: true })]);
assert.deepEqual(fs.readdirSync('.'), []);
`,
  },
  'names of 255 bytes, and paths longer than PATH_MAX': {
    source: `${head}
const long = 'n'.repeat(255);
fs.mkdirSync(long);
fs.writeFileSync(path.join(long, 'f'.repeat(255)), 'x');
assert.equal(fs.readFileSync(path.join(long, 'f'.repeat(255)), 'utf8'), 'x');
assert.throws(() => fs.writeFileSync('n'.repeat(256), 'x'), { code: 'ENAMETOOLONG' });
for (let level = 0; level < 20; level++) {
  process.chdir(long);
  fs.mkdirSync(long);
}
fs.writeFileSync('deep', 'deep');
assert.equal(fs.readFileSync('deep', 'utf8'), 'deep');
assert.deepEqual(fs.readdirSync('.').sort(), ['deep', long]);
for (let level = 0; level < 20; level++) process.chdir('..');
assert.equal(fs.realpathSync('.'), fs.realpathSync(here));
await new Promise((resolve, reject) => spawn('rm', ['-rf', long]).once('exit', (code) => code === 0 ? resolve() : reject(new Error('rm ' + code))));
assert.deepEqual(fs.readdirSync('.'), []);
`,
  },
  'a log that is rotated while it is written': {
    source: `${head}
let fd = fs.openSync('log', 'a');
let written = 0;
for (let round = 0; round < 10; round++) {
  for (let n = 0; n < 100; n++) fs.writeSync(fd, 'line ' + written++ + '\\n');
  for (let n = round; n > 0; n--) fs.renameSync('log.' + n, 'log.' + (n + 1));
  fs.renameSync('log', 'log.1');
  fs.writeSync(fd, 'line ' + written++ + '\\n');
  fs.closeSync(fd);
  fd = fs.openSync('log', 'a');
}
fs.closeSync(fd);
const lines = Array.from({ length: 10 }, (_, n) => fs.readFileSync('log.' + (10 - n), 'utf8')).join('').trimEnd().split('\\n');
assert.deepEqual(lines, Array.from({ length: written }, (_, n) => 'line ' + n));
`,
  },
  'a process is killed while it writes; the file goes on': {
    source: `${head}
const child = spawn(process.execPath, ['--eval', "const fs = require('fs'); const fd = fs.openSync('f', 'a'); for (let n = 0; ; n++) { fs.writeSync(fd, String(n).padStart(9) + '\\\\n'); if (n === 50) process.stdout.write('!'); }"], { stdio: ['ignore', 'pipe', 'inherit'] });
const exit = new Promise((resolve) => child.once('exit', resolve));
await new Promise((resolve) => child.stdout.once('data', resolve));
child.kill('SIGKILL');
await exit;
fs.appendFileSync('f', 'after\\n');
const content = fs.readFileSync('f', 'utf8');
assert.ok(content.endsWith('after\\n'));
const lines = content.slice(0, -6).match(/.{10}/gs) ?? [];
assert.ok(lines.length > 50);
lines.forEach((line, n) => assert.equal(line, String(n).padStart(9) + '\\n'));
`,
  },
  'fs.watch tells of a change made here': {
    source: `${head}
const seen = new Promise((resolve) => { const watcher = fs.watch('.', (event, name) => { if (name === 'new') { watcher.close(); resolve(); } }); });
fs.writeFileSync('new', 'x');
await seen;
`,
  },
};

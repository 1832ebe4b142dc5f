// Runs in a process of its own: works on small files in a directory and prints the seconds that took.
// Usage: node files.mjs STEP DIRECTORY COUNT
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmdirSync, statSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const [step, directory, count] = process.argv.slice(2);
const names = Array.from({ length: Number(count) }, (_, index) => `file-${String(index).padStart(6, '0')}`);
const content = Buffer.alloc(1024, 'x');
const steps = {
  create() {
    mkdirSync(directory);
    for (const name of names) {
      const fd = openSync(join(directory, name), 'wx');
      writeSync(fd, content);
      closeSync(fd);
    }
  },
  stat() {
    for (const name of names) statSync(join(directory, name));
  },
  read() {
    for (const name of names) readFileSync(join(directory, name));
  },
  list() {
    for (const name of readdirSync(directory)) statSync(join(directory, name));
  },
  remove() {
    for (const name of names) unlinkSync(join(directory, name));
    rmdirSync(directory);
  },
};
const begin = process.hrtime.bigint();
steps[step]();
console.log(Number(process.hrtime.bigint() - begin) / 1e9);

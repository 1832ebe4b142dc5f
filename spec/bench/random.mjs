// Runs in a process of its own: reads 4 KiB at random places of a file and prints the seconds that took.
// Usage: node random.mjs FILE READS SEED
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

const [file, reads, seed] = process.argv.slice(2);
const fd = openSync(file, 'r');
const { size } = fstatSync(fd);
const buffer = Buffer.alloc(4096);
let state = Number(seed) >>> 0;
const begin = process.hrtime.bigint();
for (let index = 0; index < Number(reads); index++) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  readSync(fd, buffer, 0, 4096, Math.floor((state / 2 ** 32) * (size / 4096)) * 4096);
}
console.log(Number(process.hrtime.bigint() - begin) / 1e9);
closeSync(fd);

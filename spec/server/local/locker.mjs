// Holds, or asks for, a lock of a local process (fcntl F_SETLK), independent of what is tested. Argument: the file. Commands come as messages.

import { closeSync, openSync } from 'node:fs';
import { createRequire } from 'node:module';

const koffi = createRequire(import.meta.url)('koffi');
const fcntl = koffi.load(null).func('int fcntl(int, int, void *)');
const fd = openSync(process.argv[2], 'r+');

process.on('message', ({ type, start, length }) => {
  const flock = Buffer.alloc(32);
  flock.writeInt16LE(type, 0);
  flock.writeBigInt64LE(BigInt(start), 8);
  flock.writeBigInt64LE(BigInt(length), 16);
  const result = fcntl(fd, 6, flock);
  process.send(result === 0 ? 'locked' : 'refused');
});
process.on('disconnect', () => {
  closeSync(fd);
  process.exit();
});
process.send('ready');

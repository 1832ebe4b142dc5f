import { Device } from '../../../lib/fuse/kernel/device.js';
import { mountKernel, raiseReadAhead, unmountKernel } from '../../../lib/fuse/kernel/mount.js';
import { memoryTree } from './tree.js';

/** Mounts a tree in memory on the directory it is given; says what becomes of it in one JSON object a line. */
const [directory = '', via = 'auto'] = process.argv.slice(2);
const say = (what: object): void => console.log(JSON.stringify(what));
const { operations, lookups } = memoryTree();
const mount = await mountKernel(directory, {
  fsname: 'memory, of a test',
  subtype: 'ninep',
  allowOther: false,
  defaultPermissions: true,
  maxRead: 1 << 20,
  via: via === 'fusermount' ? via : 'auto',
}).catch((error: Error & { code?: string }) => {
  say({ failed: error.message, code: error.code });
  process.exit(1);
});
const device = new Device(mount.fd, operations, {
  maxWrite: 1 << 20,
  maxReadahead: 1 << 20,
  remoteLocks: false,
  writeback: false,
  posixAcl: false,
  explicitInvalidation: true,
  cacheSymlinks: true,
  readdirplus: 'always',
});
device.start();
device.ready.then(async (agreed) => {
  await raiseReadAhead(mount.device);
  say({ ready: agreed });
});
process.on('SIGTERM', () => void unmountKernel(directory).catch((error: Error) => say({ failed: error.message })));
process.on(
  'SIGUSR1',
  () =>
    void device.notify
      .inode(1)
      .then(() => device.notify.entry(1, 'a'))
      .then(() => say({ notified: true })),
);
await device.done;
mount.release();
say({ done: device.requests(), lookups: lookups(), pending: device.pending });

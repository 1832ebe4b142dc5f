import type { Argv, CommandModule } from 'yargs';
import { example } from '../help.js';

interface UnmountArguments {
  directory: string;
  lazy: boolean;
}

export const unmountCommand: CommandModule<object, UnmountArguments> = {
  command: ['unmount <directory>', 'umount <directory>'],
  describe: 'unmount a directory, after what is buffered has been written',
  builder: (yargs: Argv) =>
    yargs
      .positional('directory', { type: 'string', demandOption: true, describe: 'the mount point' })
      .option('lazy', { alias: 'l', type: 'boolean', default: false, describe: 'leave the tree now, end when nobody uses it any more' })
      .example(...example('ninep unmount /mnt/guest', 'the end of a mount')) as unknown as Argv<UnmountArguments>,
  async handler({ directory, lazy }) {
    const { unmount } = await import('../../lib/fuse/index.js');
    await unmount(directory, { lazy });
  },
};

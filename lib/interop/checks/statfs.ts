import { type Check, checks } from '../check.js';
import { refused, that } from '../expect.js';
import { STRANGER } from '../trial.js';

export const statfs: Check[] = checks(
  'attributes',
  { source: '9P2000.L protocol description: statfs; statfs(2)' },
  {
    'statfs.sizes': [
      'Blocks have a size, and no more are free than there are',
      async (t) => {
        const { bsize, blocks, bfree, bavail } = await (await t.root()).request('Tstatfs', {});
        that(bsize > 0, `bsize is ${bsize}`);
        that(bfree <= blocks && bavail <= blocks, `${bfree} free and ${bavail} available of ${blocks}`);
      },
    ],
    'statfs.files': [
      'No more files are free than there can be',
      async (t) => {
        const { files, ffree } = await (await t.root()).request('Tstatfs', {});
        that(ffree <= files, `${ffree} of ${files}`);
      },
    ],
    'statfs.name-length': [
      'Names may be as long as it says',
      async (t) => {
        const dir = await t.dir();
        const { namelen } = await dir.request('Tstatfs', {});
        that(namelen >= 14 && namelen <= 65535, `namelen is ${namelen}`);
        await dir.make('n'.repeat(namelen));
      },
    ],
    'statfs.file': [
      'Any file can be asked for the state of its file system',
      async (t) => void (await (await t.file()).request('Tstatfs', {})),
    ],
    'statfs.unknown-fid': [
      'A fid that is not there cannot be asked for the state of its file system',
      (t) => refused(t.request('Tstatfs', { fid: STRANGER })),
    ],
  },
);

import type { Deviation } from '../contracts/posix/deviations.js';
import { posixContract } from '../contracts/posix.js';
import { requires } from '../support/requires.js';
import { mounted, type ServerName } from './mounted.js';

/** What 9P has no words for. */
const lacking: Deviation[] = [
  { assertion: 'open: O_TMPFILE: a file without a name', reason: '9P makes files by name' },
  { assertion: 'rename: RENAME_EXCHANGE: *', reason: '9P cannot exchange two names' },
  { assertion: 'setid: fallocate: punching a hole *', reason: '9P cannot punch holes' },
  { assertion: 'io: fallocate: KEEP_SIZE', reason: '9P cannot reserve' },
  { assertion: 'io: fallocate: PUNCH_HOLE*', reason: '9P cannot punch holes' },
];

/** The server takes them away for everybody, as it cannot know who may keep them (CVE-2023-1386). */
const cautious: Deviation[] = ['write', 'pwrite', 'ftruncate', 'truncate', 'O_TRUNC'].map((call) => ({
  assertion: `setid: a change of the content: ${call} on 06777 by root: mode`,
  reason: 'the server takes the bits away whoever writes',
}));

/** The POSIX suite on mounts of real servers. */
for (const server of ['passthrough', 'mapped-xattr'] as ServerName[]) {
  requires('mount')(`mounted from ninep serve, ${server}`, () => {
    posixContract(`a mount of ${server}`, () => mounted(server, { nodev: false, nosuid: false }), {
      atLeast: 5000,
      deviations: [...lacking, ...cautious],
    });
  });
}

import { posixContract } from '../contracts/posix.js';
import { requires } from '../support/requires.js';
import { mounted, type ServerName } from './mounted.js';

/** The POSIX suite on mounts of real servers. */
for (const server of ['passthrough', 'mapped-xattr'] as ServerName[]) {
  requires('mount')(`mounted from ninep serve, ${server}`, () => {
    posixContract(`a mount of ${server}`, () => mounted(server, { nodev: false, nosuid: false }), { atLeast: 5000 });
  });
}

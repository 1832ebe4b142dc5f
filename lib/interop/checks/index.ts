import { type Check, groupNames } from '../check.js';
import { attach } from './attach.js';
import { attributes } from './attributes.js';
import { concurrency } from './concurrency.js';
import { confinement } from './confinement.js';
import { create } from './create.js';
import { flush_ } from './flush.js';
import { io } from './io.js';
import { limits } from './limits.js';
import { links } from './links.js';
import { locks } from './locks.js';
import { malformed } from './malformed.js';
import { open } from './open.js';
import { readdir } from './readdir.js';
import { remove } from './remove.js';
import { rename } from './rename.js';
import { stat } from './stat.js';
import { statfs } from './statfs.js';
import { version_ } from './version.js';
import { walk } from './walk.js';
import { acls, xattr } from './xattr.js';

const unsorted = [
  ...[version_, attach, walk, open, create, io, readdir, attributes, statfs, stat, xattr, acls],
  ...[links, rename, remove, locks, flush_, limits, malformed, concurrency, confinement],
].flat();

/** Every check there is, group by group. */
export const allChecks: readonly Check[] = groupNames.flatMap((name) => unsorted.filter(({ group }) => group === name));

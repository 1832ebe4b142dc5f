/** Every group of the suite, in the order they run. */
import { chmodGroups } from './chmod.js';
import { chownGroups } from './chown.js';
import { createGroups } from './create.js';
import { ioGroups } from './io.js';
import { linkGroups } from './link.js';
import { namesGroups } from './names.js';
import { openGroups } from './open.js';
import { removeGroups } from './remove.js';
import { renameGroups } from './rename.js';
import { setidGroups } from './setid.js';
import { statusGroups } from './status.js';
import { stickyGroups } from './sticky.js';
import type { Group } from './test.js';
import { truncateGroups } from './truncate.js';
import { utimensatGroups } from './utimensat.js';

export const groups: readonly Group[] = [
  ...chmodGroups,
  ...chownGroups,
  ...createGroups,
  ...linkGroups,
  ...namesGroups,
  ...openGroups,
  ...removeGroups,
  ...renameGroups,
  ...setidGroups,
  ...statusGroups,
  ...stickyGroups,
  ...truncateGroups,
  ...utimensatGroups,
  ...ioGroups,
];

import type { CommandModule } from 'yargs';
import { bridgeCommand } from './bridge.js';
import { cat } from './cat.js';
import { chmod, chown } from './chmod.js';
import { cp, get, put } from './cp.js';
import { demo } from './demo.js';
import { df } from './df.js';
import { find } from './find.js';
import { info } from './info.js';
import { interopCommand } from './interop.js';
import { ln } from './ln.js';
import { lock } from './lock.js';
import { ls } from './ls.js';
import { mkdir } from './mkdir.js';
import { mountCommand } from './mount.js';
import { mv } from './mv.js';
import { rm } from './rm.js';
import { serve } from './serve.js';
import { statCommand } from './stat.js';
import { sync } from './sync.js';
import { tail } from './tail.js';
import { touch } from './touch.js';
import { tree } from './tree.js';
import { unmountCommand } from './unmount.js';
import { xattr } from './xattr.js';

/** Every command, in the order of --help. */
// biome-ignore lint/suspicious/noExplicitAny: yargs types each command by its own arguments, and a list of them only by any
export const commands: readonly CommandModule<any, any>[] = [
  mountCommand,
  unmountCommand,
  serve,
  bridgeCommand,
  info,
  ls,
  tree,
  find,
  cat,
  tail,
  statCommand,
  df,
  cp,
  get,
  put,
  sync,
  mv,
  ln,
  rm,
  mkdir,
  touch,
  chmod,
  chown,
  xattr,
  lock,
  interopCommand,
  demo,
];

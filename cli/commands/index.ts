import type { CommandModule } from 'yargs';
import { bridgeCommand } from './bridge.js';
import { demo } from './demo.js';
import { info } from './info.js';
import { interopCommand } from './interop.js';
import { mountCommand } from './mount.js';
import { serve } from './serve.js';
import { unmountCommand } from './unmount.js';

/** Every command, in the order of --help. */
// biome-ignore lint/suspicious/noExplicitAny: yargs types each command by its own arguments, and a list of them only by any
export const commands: readonly CommandModule<any, any>[] = [
  mountCommand,
  unmountCommand,
  serve,
  bridgeCommand,
  info,
  interopCommand,
  demo,
];

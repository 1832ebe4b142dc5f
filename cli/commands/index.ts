import type { CommandModule } from 'yargs';
import { info } from './info.js';
import { serve } from './serve.js';

/** Every command, in the order of --help. */
// biome-ignore lint/suspicious/noExplicitAny: yargs types each command by its own arguments, and a list of them only by any
export const commands: readonly CommandModule<any, any>[] = [serve, info];

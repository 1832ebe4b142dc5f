import type { FileHandle } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Argv, CommandModule } from 'yargs';
import type { ConnectionArguments } from '../connection.js';
import { fileOptions, printing } from '../files/command.js';
import { LOCATION, type Place } from '../files/place.js';
import { example } from '../help.js';

interface TailArguments extends ConnectionArguments {
  path: string;
  lines: number;
  follow: boolean;
  interval: number;
}

const BLOCK = 64 * 1024;
const NEWLINE = 10;

export const tail: CommandModule<object, TailArguments> = {
  command: 'tail <path>',
  describe: 'print the end of a file, and what is added to it',
  builder: (yargs: Argv) =>
    fileOptions(yargs)
      .positional('path', { type: 'string', demandOption: true, describe: LOCATION })
      .option('lines', { alias: 'n', type: 'number', default: 10, describe: 'how many lines' })
      .option('follow', {
        alias: 'f',
        type: 'boolean',
        default: false,
        describe: 'go on until interrupted, also when the file is replaced',
      })
      .option('interval', { type: 'number', default: 1, describe: 'seconds between two looks' })
      .example(
        ...example('ninep tail -f unix:/run/vm.sock#/var/log/syslog', 'a log of a guest, as it grows'),
      ) as unknown as Argv<TailArguments>,
  handler: (argv) =>
    printing(argv, async ({ places, problems, signal }) => {
      const place = await places.at(argv.path);
      await problems.try(() => printEnd(place, argv, signal), place.show());
    }),
};

interface Followed {
  handle: FileHandle;
  /** Which file it was when it was opened: there are servers that tell of whatever has its name now. */
  inode: number;
  size: number;
  /** Bytes that were printed. */
  at: number;
}

async function printEnd(place: Place, { lines, follow, interval }: TailArguments, signal: AbortSignal): Promise<void> {
  let file = await openFile(place);
  try {
    file.at = await printFrom(file.handle, await startOfLast(file.handle, file.size, lines));
    while (follow) {
      await delay(interval * 1000, undefined, { signal });
      file = await caughtUp(place, file);
      file.at = await printFrom(file.handle, file.at);
    }
  } finally {
    await file.handle.close().catch(() => undefined);
  }
}

async function openFile({ fs, path }: Place): Promise<Followed> {
  const handle = await fs.open(path, 'r');
  const { ino, size } = await handle.stat();
  return { handle, inode: ino, size, at: 0 };
}

/** The same file, or the one that has its name now; from its start if it has been cut off. */
async function caughtUp(place: Place, file: Followed): Promise<Followed> {
  const named = await place.fs.stat(place.path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (named === undefined || named.ino === file.inode) return { ...file, at: named !== undefined && named.size < file.at ? 0 : file.at };
  // Moved away, as logs are: what was still written to it belongs to the end of it.
  await printFrom(file.handle, file.at);
  await file.handle.close();
  return openFile(place);
}

/** Where the last `lines` lines begin, read from the end backwards. */
async function startOfLast(handle: FileHandle, size: number, lines: number): Promise<number> {
  if (lines <= 0) return size;
  let left = lines;
  const buffer = Buffer.alloc(BLOCK);
  for (let end = size; end > 0; ) {
    const start = Math.max(0, end - BLOCK);
    const { bytesRead } = await handle.read(buffer, 0, end - start, start);
    for (let index = bytesRead - 1; index >= 0; index--) {
      // The newline that ends the last line begins no other one.
      if (buffer[index] === NEWLINE && start + index !== size - 1 && --left === 0) return start + index + 1;
    }
    end = start;
  }
  return 0;
}

/** Prints all there is from `start` on; where that ended. */
async function printFrom(handle: FileHandle, start: number): Promise<number> {
  const buffer = Buffer.alloc(BLOCK);
  for (let at = start; ; ) {
    const { bytesRead } = await handle.read(buffer, 0, BLOCK, at);
    if (bytesRead === 0) return at;
    // The process ends when nobody reads it any more (output.ts), and that is no failure of the file.
    await new Promise<void>((resolve) => process.stdout.write(Buffer.from(buffer.subarray(0, bytesRead)), (error) => !error && resolve()));
    at += bytesRead;
  }
}

import type { Argv } from 'yargs';
import { type ConnectionArguments, connectionOptions } from '../connection.js';
import { endWithOutput } from '../output.js';
import { STOPPING, unlessInterrupted } from '../signals.js';
import { Places } from './place.js';
import { Problems } from './problems.js';

/** What a file command works with. */
export interface Work {
  places: Places;
  problems: Problems;
  /** Aborted by the first SIGINT, SIGTERM or SIGHUP; the second ends the process as ever. */
  signal: AbortSignal;
}

/** Runs a file command: addresses are connected to when they are first used, and left at its end; an interruption ends it with 130. */
export async function working(argv: ConnectionArguments, work: (work: Work) => Promise<void>): Promise<void> {
  await unlessInterrupted(STOPPING, async (signal) => {
    await using places = new Places(argv, signal);
    await work({ places, problems: new Problems(), signal });
  });
}

/** As `working`, for a command that does nothing but print: it ends when its stdout takes no more. */
export function printing(argv: ConnectionArguments, work: (work: Work) => Promise<void>): Promise<void> {
  endWithOutput();
  return working(argv, work);
}

/** The options that every file command has. */
export function fileOptions<T>(yargs: Argv<T>): Argv<T & ConnectionArguments> {
  return connectionOptions(yargs);
}

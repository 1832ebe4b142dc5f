import type { Argv } from 'yargs';
import { type ConnectionArguments, connectionOptions } from '../connection.js';
import { Places } from './place.js';
import { Problems } from './problems.js';

/** What a file command works with. */
export interface Work {
  places: Places;
  problems: Problems;
  /** Aborted by the first SIGINT or SIGTERM; the second ends the process as ever. */
  signal: AbortSignal;
}

/** Runs a file command: addresses are connected to when they are first used, and left at its end; an interruption ends it with 130. */
export async function working(argv: ConnectionArguments, work: (work: Work) => Promise<void>): Promise<void> {
  const controller = new AbortController();
  const interrupt = (): void => controller.abort(new Error('interrupted'));
  const signals = ['SIGINT', 'SIGTERM'] as const;
  for (const signal of signals) process.once(signal, interrupt);
  // `ninep cat … | head` is no failure.
  process.stdout.on('error', quietly);
  try {
    await using places = new Places(argv, controller.signal);
    await work({ places, problems: new Problems(), signal: controller.signal });
  } catch (error) {
    if (!controller.signal.aborted) throw error;
    console.error('ninep: interrupted');
    process.exitCode = 130;
  } finally {
    for (const signal of signals) process.off(signal, interrupt);
  }
}

function quietly(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
}

/** The options that every file command has. */
export function fileOptions<T>(yargs: Argv<T>): Argv<T & ConnectionArguments> {
  return connectionOptions(yargs);
}

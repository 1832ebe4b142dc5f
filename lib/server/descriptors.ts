import { readFileSync } from 'node:fs';
import { close } from '../sys/io.js';
import type { Awaitable } from './backend.js';
import { failure } from './errors.js';
import { Shares } from './shares.js';

/** How many descriptors the process may have: Node has raised that to the hard limit when it started. */
export function descriptorLimit(): number {
  try {
    const match = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'));
    return match?.[1] === undefined ? 1024 : Number(match[1]);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

let shares: Shares | undefined;

/**
 * The descriptors that open files and locks may take, of all connections: nobody can have them back before their client gives them up. The
 * rest is for nodes, connections (`maxConnections`) and what an operation opens for itself.
 */
export function openFiles(): Shares {
  shares ??= new Shares(Math.floor(descriptorLimit() * 0.75));
  return shares;
}

/** Opens one file for a connection out of its share, to which it comes back when that is closed. EMFILE where the connection has none left. */
export function opening<T>(connection: string, open: () => Awaitable<T>): Awaitable<T> {
  if (!openFiles().take(connection, 1)) throw failure('EMFILE');
  const undo = (error: unknown): never => {
    openFiles().give(connection, 1);
    throw error;
  };
  try {
    const opened = open();
    return opened instanceof Promise ? opened.catch(undo) : opened;
  } catch (error) {
    return undo(error);
  }
}

/**
 * A descriptor that leaves with an answer, out of its connection's share until it has left: a client that reads no answers has them wait here. EMFILE where the
 * connection has none left.
 */
export function lending(connection: string, duplicate: () => number | undefined): number | undefined {
  if (!openFiles().take(connection, 1)) throw failure('EMFILE');
  let fd: number | undefined;
  try {
    fd = duplicate();
  } finally {
    if (fd === undefined) openFiles().give(connection, 1);
  }
  return fd;
}

/** Closes one that does not leave. */
export function unlent(connection: string, fd: number): void {
  close(fd);
  openFiles().give(connection, 1);
}

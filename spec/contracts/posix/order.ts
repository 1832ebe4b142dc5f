/** What the suite's process is told, and what it says. */
import type { Result, Users } from './test.js';

export type Lack = 'root' | 'program' | 'special files' | 'locks' | 'read-only view';

export interface Order {
  readonly directory: string;
  readonly users: Users;
  readonly readOnly?: string;
  readonly elsewhere?: string;
  /** What the file system cannot do at all: groups that need it are skipped. */
  readonly lacks?: readonly Lack[];
  /** Beginnings of the names of the groups to run; all without. */
  readonly only?: readonly string[];
  /** Runs against calls made wrong on purpose. */
  readonly mutant?: string;
  /** Leaves what was made. */
  readonly keep?: boolean;
}

export type Line =
  | Result
  | { readonly group: string; readonly begun: true }
  | { readonly group: string; readonly skipped: string }
  | { readonly group: string; readonly done: number }
  | { readonly finished: true };

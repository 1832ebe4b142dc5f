import { type Dialect, VERSION_L, VERSION_LEGACY, VERSION_U } from '../protocol/constants.js';
import type { Trial } from './trial.js';

/** The groups, in the order in which they are run and shown. */
export const groupNames = [
  'version',
  'attach',
  'walk',
  'open/create',
  'read/write',
  'readdir',
  'attributes',
  'xattr',
  'ACL',
  'links',
  'rename',
  'remove',
  'locks',
  'flush',
  'limits',
  'malformed input',
  'concurrency',
  'confinement',
] as const;

export type Group = (typeof groupNames)[number];

/** One rule, and how to find out whether a server keeps it. */
export interface Check {
  /** Stable: `walk.partial`. */
  readonly id: string;
  readonly group: Group;
  /** One sentence: what a server does. */
  readonly rule: string;
  /** Where that is written. */
  readonly source: string;
  /** The dialects that have it. */
  readonly dialects: readonly Dialect[];
  /** What was seen is not for the report: that it failed is all that is said. */
  readonly discreet: boolean;
  /** Returns if the rule holds and throws if not (outcome.ts). */
  readonly run: (trial: Trial) => Promise<void>;
}

/** What checks of a group have in common, and any of them may have otherwise. */
export interface Traits {
  source?: string;
  dialects?: readonly Dialect[];
  discreet?: boolean;
}

/** Rule, check, and in what it differs from its group. */
export type Entry = readonly [rule: string, run: (trial: Trial) => Promise<void>, traits?: Traits];

export const L: readonly Dialect[] = [VERSION_L];
export const U: readonly Dialect[] = [VERSION_U];
/** Whoever has Tstat, Topen and Tcreate. */
export const OLD: readonly Dialect[] = [VERSION_U, VERSION_LEGACY];
export const ALL: readonly Dialect[] = [VERSION_L, VERSION_U, VERSION_LEGACY];

/** The checks of a group. The keys are their ids. */
export function checks(group: Group, traits: Traits & { source: string }, entries: Readonly<Record<string, Entry>>): Check[] {
  return Object.entries(entries).map(([id, [rule, run, own]]) => ({
    id,
    group,
    rule,
    source: own?.source ?? traits.source,
    dialects: own?.dialects ?? traits.dialects ?? L,
    discreet: own?.discreet ?? traits.discreet ?? false,
    run,
  }));
}

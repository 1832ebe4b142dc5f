import type { Argv } from 'yargs';

/** An example for a command's help, as `yargs.example` takes it: the line whole, so that it can be copied from 80 columns, too. */
export function example(line: string, what: string): [string, string] {
  return [`# ${what}\n${line}`, ''];
}

/** Has a command's own arguments and options come before those that it shares with others. */
export function ownFirst<T>(yargs: Argv<T>): Argv<T> {
  return yargs.group([], 'Positionals:').group([], 'Options:');
}

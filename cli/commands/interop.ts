import { dirname } from 'node:path';
import type { Argv, CommandModule } from 'yargs';
import type { Report } from '../../lib/interop/index.js';
import { ErrnoError, VERSION_L, VERSION_LEGACY, VERSION_U } from '../../lib/protocol/index.js';
import { type ConnectionArguments, connectionOptions, dialectOption } from '../connection.js';
import { failureLine, UsageError } from '../failure.js';
import { example } from '../help.js';
import { STOPPING, unlessInterrupted } from '../signals.js';

const DIALECTS = [VERSION_L, VERSION_U, VERSION_LEGACY] as const;

interface InteropArguments extends ConnectionArguments {
  address: string[];
  suite: string[] | undefined;
  check: string[] | undefined;
  json: boolean;
  markdown: string | undefined;
  list: boolean;
  directory: string | undefined;
}

export const interopCommand: CommandModule<object, InteropArguments> = {
  command: 'interop [address..]',
  describe: 'hold a server against the protocol, check by check',
  builder: (yargs: Argv) =>
    connectionOptions(yargs)
      .positional('address', { type: 'string', array: true, default: [], describe: 'one server or several to compare' })
      .option('suite', {
        type: 'string',
        array: true,
        nargs: 1,
        describe: 'only this group of checks (may be repeated; --list names them)',
      })
      .option('check', { type: 'string', array: true, nargs: 1, describe: 'only this check, or walk.* for all that begin so' })
      .option('directory', { type: 'string', describe: 'the directory of the export to work in' })
      .option('json', { type: 'boolean', default: false, describe: 'print JSON' })
      .option('markdown', { type: 'string', describe: 'write a table of all servers to this file' })
      .option('list', { type: 'boolean', default: false, describe: 'print the checks and the rules they are about' })
      .example(...example('ninep interop tcp://127.0.0.1:5640/srv', 'every check against one server'))
      .example(
        ...example('ninep interop tcp://a/x tcp://b/x --markdown table.md', 'two servers side by side'),
      ) as unknown as Argv<InteropArguments>,
  async handler(argv) {
    const { allChecks, formatText, groupNames, interop, selected, summary, toJSON, toMarkdown } = await import(
      '../../lib/interop/index.js'
    );
    if (argv.list) {
      for (const group of groupNames) {
        console.log(`${group}:`);
        for (const check of allChecks) if (check.group === group) console.log(`  ${check.id}: ${check.rule} (${check.source})`);
      }
      return;
    }
    if (argv.address.length === 0) throw new UsageError('interop with whom? ADDRESS…');
    const known: readonly string[] = groupNames;
    for (const suite of argv.suite ?? []) {
      if (!known.includes(suite)) throw new UsageError(`--suite ${suite}: the groups are ${groupNames.join(', ')}`);
    }
    const dialect = await dialectOption(argv.dialect);
    const dialects = dialect === undefined ? DIALECTS : [dialect];
    const selects = (options: { groups?: string[] | undefined; checks?: string[] | undefined }) =>
      dialects.some((one) => selected(one, options).length > 0);
    for (const check of argv.check ?? []) {
      if (!selects({ checks: [check] })) throw new UsageError(`--check ${check}: there is no such check; ninep interop --list names them`);
    }
    if (!selects({ groups: argv.suite, checks: argv.check })) throw new UsageError('no check of --check belongs to a group of --suite');
    // A run takes minutes: what can be known to be wrong is told before the first.
    await checkAddresses(argv.address);
    if (argv.markdown !== undefined) await checkWritable(argv.markdown);
    const live = process.stderr.isTTY === true;
    const reports: Report[] = [];
    const inspected = (address: string, signal: AbortSignal): Promise<Report | undefined> =>
      interop(address, {
        groups: argv.suite,
        checks: argv.check,
        dialect,
        msize: argv.msize,
        aname: argv.aname,
        uname: argv.uname,
        uid: argv.uid,
        directory: argv.directory?.split('/').filter((name) => name !== ''),
        ...(argv.timeout !== undefined && { timeout: argv.timeout * 1000 }),
        ...(argv.connectTimeout !== undefined && { dial: { timeout: argv.connectTimeout * 1000 } }),
        signal,
        onResult: (_result, done, total) => {
          if (live) process.stderr.write(`\r${address}: ${done} of ${total} `);
        },
      }).catch((error: unknown) => {
        // Of several, those that can be reached are worth their reports.
        if (argv.address.length === 1 || signal.aborted) throw error;
        console.error(failureLine(error));
        process.exitCode = 1;
        return undefined;
      });
    // Interrupted, it takes away what it has made on the server.
    const done = await unlessInterrupted(STOPPING, async (signal) => {
      for (const address of argv.address) {
        const report = await inspected(address, signal);
        if (live) process.stderr.write('\r\x1b[K');
        if (report === undefined) continue;
        reports.push(report);
        if (!argv.json) console.log(formatText(report));
      }
      return true;
    });
    if (done === undefined) return;
    if (argv.json) console.log(toJSON(reports));
    // A table of nobody takes the place of none.
    if (argv.markdown !== undefined && reports.length > 0) {
      const { writeFile } = await import('node:fs/promises');
      await writeFile(argv.markdown, toMarkdown(reports));
    }
    if (!argv.json && reports.length > 1) for (const report of reports) console.log(summary(report));
    // Some check could not be carried out at all: what is said about the server is incomplete.
    if (reports.some(({ counts }) => counts.error > 0)) process.exitCode = 1;
  },
};

async function checkAddresses(addresses: readonly string[]): Promise<void> {
  const { parseAddress } = await import('../../lib/index.js');
  for (const address of addresses) await dialectOption(parseAddress(address).version);
}

/** Rejects if the file cannot be written, without touching it. */
async function checkWritable(path: string): Promise<void> {
  const { access, constants, stat } = await import('node:fs/promises');
  const there = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  if (there?.isDirectory()) throw new ErrnoError('EISDIR', { syscall: 'open', path });
  await access(there === undefined ? dirname(path) : path, constants.W_OK);
}

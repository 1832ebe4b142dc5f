import './colours.js';
import createDebug from 'debug';
import yargs from 'yargs';
import { hideBin } from 'yargs/helpers';
import { commandsFor } from './commands/index.js';
import { failureLine, UsageError } from './failure.js';
import { misuse } from './misuse.js';
import { fromMountHelper, isFake } from './mount-helper.js';
import { outliveOutput } from './output.js';
import { version } from './version.js';
import { givenTwice, markPlain, unmark, withoutDashes, wrongNumber } from './words.js';

const trace = createDebug('ninep:cli');

/** Does what the command line of this process says. Failures are told on stderr, in one line, and by the exit code. */
export async function run(): Promise<void> {
  outliveOutput();
  const [, script = ''] = process.argv;
  const given = hideBin(process.argv);
  if (isFake(script, given)) return;
  const words = fromMountHelper(script, withoutDashes(given));

  const parser = yargs(markPlain(words))
    .scriptName('ninep')
    .locale('en')
    .usage(
      '$0 COMMAND …\n\nADDRESS is tcp://HOST[:564]/ANAME, tls://…, unix:PATH, exec:COMMAND, fd:N, dev:PATH, vsock://CID:PORT or qemu:path=DIR,…;\nevery form takes ?aname=… uname=… uid=… msize=… version=… behind it.',
    )
    .demandCommand(1, 'a command, please; ninep --help lists them')
    .strict()
    .recommendCommands()
    .completion('completion', 'print a script that completes commands in your shell')
    .version(version())
    .help()
    .alias('h', 'help')
    .wrap(Math.min(120, process.stdout.columns ?? 100))
    .parserConfiguration({ 'greedy-arrays': false })
    .updateStrings({
      'Not enough non-option arguments: got %s, need at least %s': {
        one: 'too few arguments (%s of %s)',
        other: 'too few arguments (%s of %s)',
      } as unknown as string,
      'Invalid values:': 'no such value:',
      'Argument: %s, Given: %s, Choices: %s': '%s is %s, and not one of %s',
    })
    .middleware(unmark, true)
    .check((argv) => {
      const wrong = wrongNumber(argv, given) ?? givenTwice(argv);
      if (wrong !== undefined) throw new UsageError(misuse(words, wrong));
      return true;
    })
    .epilogue('ninep COMMAND --help tells its options, with an example. DEBUG=ninep:* shows every message.')
    .fail((message, error) => {
      throw error ?? new UsageError(misuse(words, message));
    });
  for (const command of await commandsFor(words[0])) parser.command(command);

  try {
    await parser.parseAsync();
  } catch (error) {
    process.exitCode = error instanceof UsageError || (error as NodeJS.ErrnoException).code === 'ERR_INVALID_ADDRESS' ? 2 : 1;
    console.error(failureLine(error));
    trace('%O', error);
  }
}

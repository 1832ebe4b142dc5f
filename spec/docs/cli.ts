import yargs from 'yargs';
import { type AnyCommand, allCommands, commandsFor } from '../../cli/commands/index.js';

const MARK = '<!-- Generated from the commands: NINEP_UPDATE=1 npm test -- spec/docs -->';

/** The words by which a command is called: `mount`. */
export function nameOf(command: AnyCommand): string {
  const [first = ''] = Array.isArray(command.command) ? command.command : [command.command ?? ''];
  return first.split(' ')[0] ?? '';
}

/** cli/README.md as the commands have it. */
export async function cliReadme(): Promise<string> {
  const parts = [
    '# ninep, command by command',
    MARK,
    [
      'Every command exits with 0, with 1 after a failure (one line on stderr: `ninep: WHAT: WHY (ENAME)`), with 2 for a wrong command line, or with 130 after an interruption (Ctrl-C, SIGTERM, SIGHUP).',
      'An ADDRESS is',
    ].join('\n'),
    [
      '| form | what it reaches |',
      '|---|---|',
      '| `tcp://HOST[:564]/ANAME` | a server on the network |',
      '| `tls://HOST:PORT/ANAME` | the same inside TLS; `?ca=FILE&cert=FILE&key=FILE` |',
      '| `unix:/path/to.sock` | a unix socket |',
      '| `exec:COMMAND` | stdin and stdout of a command: `exec:ssh vm ninep serve --stdio -e /` |',
      '| `fd:N`, `fd:R,W` | descriptors that this process inherited |',
      '| `dev:PATH` | a character device, such as a virtio-serial port |',
      '| `vsock://CID:PORT` | AF_VSOCK; `vsock+unix:/path:PORT` as Firecracker and Cloud Hypervisor have it |',
      '| `qemu:path=DIR,security_model=MODEL,…` | QEMU’s own server, started for the occasion, without a guest |',
    ].join('\n'),
    [
      'and every form takes `?aname=…&uname=…&uid=…&msize=…&version=…` behind it.',
      'An option of its own (`--retry 5`) counts more than the same said by `-o` (`-o retry=5`), and that more than what the address says; `--dialect` is `version` in both.',
      'Of words behind `-o`, and of switches (`--delete --no-delete`), the last counts. An option that takes one value is given once.',
      '`--read-only` makes every export and mount of a command read-only, whatever is said of one.',
    ].join('\n'),
    [
      'A file behind one is ADDRESS#PATH, cut at the first `#/`: `tcp://10.0.2.15/srv#/notes#1`.',
      'Without a `#/`, the first `#` ends the address.',
    ].join(' '),
  ];
  for (const command of await allCommands()) {
    const help = await helpOf(command);
    parts.push(`## ninep ${nameOf(command)}`, `\`\`\`\n${help}\n\`\`\``);
  }
  return `${parts.join('\n\n')}\n`;
}

/** The help of one command, at a width that does not depend on the terminal. */
async function helpOf(command: AnyCommand, width = 110): Promise<string> {
  const parser = yargs([]).scriptName('ninep').version(false).help('help').wrap(width).command(command).locale('en');
  const text = await new Promise<string>((resolve, reject) => {
    parser.parse([nameOf(command), '--help'], {}, (error, _argv, output) => (error ? reject(error) : resolve(output)));
  });
  return text.trimEnd();
}

/** The command lines in the help of one command. */
export async function examplesOf(command: AnyCommand): Promise<string[]> {
  const [, examples = ''] = (await helpOf(command, 1000)).split('Examples:\n');
  return examples
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
}

/** Whether a command line is one that ninep would take. Nothing is run. Throws what the user would be told. */
export async function checkLine(words: readonly string[]): Promise<void> {
  const parser = yargs([]).scriptName('ninep').strict().demandCommand(1).exitProcess(false).help(false).version(false);
  let taken = false;
  for (const command of await commandsFor(words[0])) {
    parser.command({
      ...command,
      handler: () => {
        taken = true;
      },
    });
  }
  parser.fail((message, error) => {
    throw error ?? new Error(message);
  });
  await parser.parseAsync([...words]);
  if (!taken) throw new Error(`no command took ${words.join(' ')}`);
}

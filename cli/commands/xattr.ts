import type { Argv, CommandModule } from 'yargs';
import type { FileSystem } from '../../lib/index.js';
import type { ConnectionArguments } from '../connection.js';
import { UsageError } from '../failure.js';
import { fileOptions, working } from '../files/command.js';
import { printable } from '../files/listing.js';
import type { Place } from '../files/place.js';
import { json } from '../format.js';
import { example } from '../help.js';

interface XattrArguments extends ConnectionArguments {
  action: 'list' | 'get' | 'set' | 'remove';
  path: string;
  name: string | undefined;
  value: string | undefined;
  hex: boolean;
  follow: boolean;
  json: boolean;
}

export const xattr: CommandModule<object, XattrArguments> = {
  command: 'xattr <action> <path> [name] [value]',
  describe: 'extended attributes of a file on a server',
  builder: (yargs: Argv) =>
    fileOptions(yargs)
      .positional('action', { type: 'string', choices: ['list', 'get', 'set', 'remove'], demandOption: true })
      .positional('path', { type: 'string', demandOption: true, describe: 'ADDRESS#PATH' })
      .positional('name', { type: 'string', describe: 'user.…' })
      .positional('value', { type: 'string', describe: 'what it is to be' })
      .option('hex', { type: 'boolean', default: false, describe: 'values are bytes, in hexadecimal' })
      .option('follow', { type: 'boolean', default: true, describe: 'of what a symlink leads to' })
      .option('json', { type: 'boolean', default: false, describe: 'print JSON; values in base64' })
      .example(...example('ninep xattr list tcp://10.0.2.15/srv#/file', 'their names and values'))
      .example(...example('ninep xattr set tcp://10.0.2.15/srv#/file user.note hello', 'one more')) as unknown as Argv<XattrArguments>,
  handler: (argv) =>
    working(argv, async ({ places, problems }) => {
      const place = await places.at(argv.path);
      const fs = remoteOf(place, 'xattr');
      await problems.try(() => run(place, fs, argv), place.show());
    }),
};

/** What only a server can do; for local files there are other programs. */
export function remoteOf(place: Place, command: string): FileSystem {
  if (place.remote === undefined)
    throw new UsageError(`${command} works on ADDRESS#PATH, and ${JSON.stringify(place.path)} is a local path`);
  return place.remote;
}

async function run({ path }: Place, fs: FileSystem, argv: XattrArguments): Promise<void> {
  const { action, name, value, hex } = argv;
  const options = { follow: argv.follow };
  const text = (bytes: Buffer): string => (hex ? bytes.toString('hex') : printable(bytes.toString()));
  if (action === 'list') {
    const names = (await fs.listxattr(path, options)).sort();
    const values = await Promise.all(names.map((each) => fs.getxattr(path, each, options)));
    if (argv.json) console.log(json(Object.fromEntries(names.map((each, index) => [each, values[index]?.toString('base64')]))));
    else for (const [index, each] of names.entries()) console.log(`${printable(each)}=${text(values[index] ?? Buffer.alloc(0))}`);
    return;
  }
  if (name === undefined) throw new UsageError(`xattr ${action} which? NAME`);
  if (action === 'remove') await fs.removexattr(path, name, options);
  else if (action === 'get') {
    const bytes = await fs.getxattr(path, name, options);
    if (argv.json) console.log(json({ [name]: bytes.toString('base64') }));
    else if (hex || process.stdout.isTTY) console.log(text(bytes));
    // A file or a program gets the bytes as they are: not all of them are text.
    else process.stdout.write(Buffer.concat([bytes, Buffer.from('\n')]));
  } else {
    if (value === undefined) throw new UsageError('xattr set it to what? VALUE');
    if (hex && !/^([0-9a-f]{2})+$/i.test(value)) throw new UsageError(`${JSON.stringify(value)} is no hexadecimal`);
    await fs.setxattr(path, name, hex ? Buffer.from(value, 'hex') : String(value), options);
  }
}

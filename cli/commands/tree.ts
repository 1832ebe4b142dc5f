import type { Argv, CommandModule } from 'yargs';
import type { ConnectionArguments } from '../connection.js';
import { fileOptions, printing } from '../files/command.js';
import { type FileRecord, printable, recordOf } from '../files/listing.js';
import { LOCATION, type Place } from '../files/place.js';
import type { Problems } from '../files/problems.js';
import { type Entry, walk } from '../files/walk.js';
import { bytesText, count, json } from '../format.js';
import { example } from '../help.js';

interface TreeArguments extends ConnectionArguments {
  path: string;
  depth: number | undefined;
  all: boolean;
  size: boolean;
  json: boolean;
}

type Node = FileRecord & { children?: Node[] };

export const tree: CommandModule<object, TreeArguments> = {
  command: 'tree [path]',
  describe: 'show a directory and all below it as a tree',
  builder: (yargs: Argv) =>
    fileOptions(yargs)
      .positional('path', { type: 'string', default: '.', describe: LOCATION })
      .option('depth', { alias: 'L', type: 'number', describe: 'no deeper than so many names' })
      .option('all', { alias: 'a', type: 'boolean', default: false, describe: 'names that begin with a dot, too' })
      .option('size', { alias: 's', type: 'boolean', default: false, describe: 'sizes, too' })
      .option('json', { type: 'boolean', default: false, describe: 'print JSON, one object with its children' })
      .example(...example('ninep tree -L 2 tcp://10.0.2.15/srv', 'two levels of an export')) as unknown as Argv<TreeArguments>,
  handler: (argv) =>
    printing(argv, async ({ places, problems }) => {
      const place = await places.at(argv.path);
      await problems.try(() => (argv.json ? printJson(place, argv, problems) : printTree(place, argv, problems)), place.show());
    }),
};

async function* shown(place: Place, { depth, all }: TreeArguments, problems: Problems): AsyncGenerator<Entry, void, undefined> {
  for await (const entry of walk(place, problems, { maxDepth: depth, follow: true })) {
    if (all || !entry.relative.split('/').some((name) => name.startsWith('.'))) yield entry;
  }
}

async function printTree(place: Place, argv: TreeArguments, problems: Problems): Promise<void> {
  /** For each depth, whether the branch there goes on below. Known one entry late: the last one of a directory ends its branch. */
  const lines: { entry: Entry; text: string }[] = [];
  let directories = 0;
  let files = 0;
  let bytes = 0;
  for await (const entry of shown(place, argv, problems)) {
    const { stats, relative } = entry;
    if (entry.depth > 0) {
      if (stats.isDirectory()) directories++;
      else files++;
    }
    if (stats.isFile()) bytes += stats.size;
    let text = relative === '' ? place.show() : (relative.split('/').pop() ?? '');
    if (argv.size && stats.isFile()) text += `  (${bytesText(stats.size)})`;
    if (stats.isSymbolicLink()) text += ` -> ${await place.fs.readlink(entry.path).catch(() => '?')}`;
    lines.push({ entry, text: printable(text) });
  }
  const goesOn: boolean[] = [];
  const drawn: string[] = [];
  // From the end, so that each line knows whether another one of its directory follows.
  for (const { entry, text } of lines.reverse()) {
    const { depth } = entry;
    if (depth === 0) {
      drawn.push(text);
      continue;
    }
    let line = '';
    for (let level = 1; level < depth; level++) line += goesOn[level] ? '│   ' : '    ';
    drawn.push(`${line}${goesOn[depth] ? '├── ' : '└── '}${text}`);
    goesOn[depth] = true;
    goesOn.length = depth + 1;
  }
  console.log(drawn.reverse().join('\n'));
  console.log(`\n${count(directories, 'directory', 'directories')}, ${count(files, 'file')}${argv.size ? `, ${bytesText(bytes)}` : ''}`);
}

async function printJson(place: Place, argv: TreeArguments, problems: Problems): Promise<void> {
  const path: Node[] = [];
  for await (const { depth, path: at, stats } of shown(place, argv, problems)) {
    const node: Node = await recordOf(place.fs, at, stats);
    if (stats.isDirectory()) node.children = [];
    path.length = depth;
    path[depth - 1]?.children?.push(node);
    path.push(node);
  }
  console.log(json(path[0]));
}

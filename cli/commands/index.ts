import type { CommandModule } from 'yargs';

// biome-ignore lint/suspicious/noExplicitAny: yargs types each command by its own arguments, and a list of them only by any
export type AnyCommand = CommandModule<any, any>;

/** Every command by its name, in the order of --help. What a command needs is loaded with it: that takes longer than most commands do. */
const loaders: ReadonlyMap<string, () => Promise<AnyCommand>> = new Map<string, () => Promise<AnyCommand>>([
  ['mount', async () => (await import('./mount.js')).mountCommand],
  ['unmount', async () => (await import('./unmount.js')).unmountCommand],
  ['serve', async () => (await import('./serve.js')).serve],
  ['bridge', async () => (await import('./bridge.js')).bridgeCommand],
  ['info', async () => (await import('./info.js')).info],
  ['ls', async () => (await import('./ls.js')).ls],
  ['tree', async () => (await import('./tree.js')).tree],
  ['find', async () => (await import('./find.js')).find],
  ['cat', async () => (await import('./cat.js')).cat],
  ['tail', async () => (await import('./tail.js')).tail],
  ['stat', async () => (await import('./stat.js')).statCommand],
  ['df', async () => (await import('./df.js')).df],
  ['cp', async () => (await import('./cp.js')).cp],
  ['get', async () => (await import('./cp.js')).get],
  ['put', async () => (await import('./cp.js')).put],
  ['sync', async () => (await import('./sync.js')).sync],
  ['mv', async () => (await import('./mv.js')).mv],
  ['ln', async () => (await import('./ln.js')).ln],
  ['rm', async () => (await import('./rm.js')).rm],
  ['mkdir', async () => (await import('./mkdir.js')).mkdir],
  ['touch', async () => (await import('./touch.js')).touch],
  ['chmod', async () => (await import('./chmod.js')).chmod],
  ['chown', async () => (await import('./chmod.js')).chown],
  ['xattr', async () => (await import('./xattr.js')).xattr],
  ['lock', async () => (await import('./lock.js')).lock],
  ['interop', async () => (await import('./interop.js')).interopCommand],
  ['demo', async () => (await import('./demo.js')).demo],
]);

/** What `ninep WORD …` may mean: the command of that name, or else any, to be listed or recommended. */
export async function commandsFor(word: string | undefined): Promise<readonly AnyCommand[]> {
  const load = loaders.get(word ?? '');
  return load === undefined ? allCommands() : [await load()];
}

export function allCommands(): Promise<readonly AnyCommand[]> {
  return Promise.all([...loaders.values()].map((load) => load()));
}

/** Whether there is such a command. */
export function isCommand(word: string): boolean {
  return loaders.has(word);
}

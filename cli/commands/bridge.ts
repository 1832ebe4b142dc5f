import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Argv, CommandModule } from 'yargs';
import type { Link, LinkEvent } from '../../lib/bridge/index.js';
import type { Mount } from '../../lib/fuse/index.js';
import type { Client, RecoveryEvent } from '../../lib/index.js';
import { ErrnoError } from '../../lib/protocol/index.js';
import { parseExport } from '../exports.js';
import { failureLine, UsageError } from '../failure.js';
import { example } from '../help.js';
import { compileSoon } from '../hurry.js';
import { retryOf } from '../mount-options.js';
import { untilStopped } from '../signals.js';

interface BridgeArguments {
  address: string;
  listen: boolean;
  export: string[] | undefined;
  mount: string[] | undefined;
  retry: string;
  readOnly: boolean;
  dev: boolean;
  suid: boolean;
  resync: boolean | undefined;
  user: string | undefined;
  allowOther: boolean | undefined;
}

/** How long the last writes may take at the end, in milliseconds. */
const PARTING = 5000;

export const bridgeCommand: CommandModule<object, BridgeArguments> = {
  command: 'bridge <address>',
  describe: 'serve and mount over one channel, in both directions',
  builder: (yargs: Argv) =>
    yargs
      .positional('address', {
        type: 'string',
        demandOption: true,
        describe: 'the channel: dev:/dev/virtio-ports/NAME, vsock://2:5640, unix:PATH, exec:COMMAND, …',
      })
      .option('listen', {
        alias: 'l',
        type: 'boolean',
        default: false,
        describe:
          'wait at the address instead of dialling it; others who come are turned away while one peer is there and says anything within 5 s',
      })
      .option('export', {
        alias: 'e',
        type: 'string',
        array: true,
        nargs: 1,
        describe: 'DIR[,aname=…,…]: a directory the peer may mount, as for ninep serve',
      })
      .option('mount', {
        alias: 'm',
        type: 'string',
        array: true,
        nargs: 1,
        describe: "DIR[=ANAME]: mount the peer's tree of that name there",
      })
      .option('retry', { type: 'string', default: '30', describe: 'seconds a mount waits for a lost peer, 0, or "forever"' })
      .option('read-only', { type: 'boolean', default: false, describe: 'mounts and exports are read-only' })
      .option('dev', { type: 'boolean', default: false, describe: "device files of the peer's tree work here (they do not: --no-dev)" })
      .option('suid', {
        type: 'boolean',
        default: false,
        describe: "set-user-id programs of the peer's tree work here (they do not: --no-suid)",
      })
      .option('resync', {
        type: 'boolean',
        describe:
          'expect half frames at the beginning, as after a reboot of the peer (on for dev: and, on the host, for the socket of a serial port)',
      })
      .option('allow-other', { type: 'boolean', describe: 'other users may enter the mounts' })
      .option('user', { type: 'string', describe: 'once it works, go on as this user (what it serves is then what that user may)' })
      .example(
        ...example(
          'ninep bridge unix:/run/vm1.sock --export /srv/host --mount /mnt/vm1',
          'the host, at the socket of a virtio-serial port',
        ),
      )
      .example(
        ...example('ninep bridge dev:/dev/virtio-ports/org.ninep.0 --export / --mount /mnt/host', 'the guest, at the other end'),
      ) as unknown as Argv<BridgeArguments>,
  handler: run,
};

async function run(argv: BridgeArguments): Promise<void> {
  const exports = (argv.export ?? []).map(parseExport);
  const mounts = (argv.mount ?? []).map(parseMount);
  if (exports.length === 0 && mounts.length === 0) throw new UsageError('bridge what? --export DIR, --mount DIR');
  compileSoon();
  const [{ Link }, { localBackend, notifyReady, Server }, { dial, listen, parseAddress }] = await Promise.all([
    import('../../lib/bridge/index.js'),
    import('../../lib/server/index.js'),
    import('../../lib/index.js'),
  ]);
  const address = parseAddress(argv.address);
  // Else that is found out when a peer comes, who may be long in coming.
  for (const { directory } of mounts) {
    if (!(await stat(directory)).isDirectory()) throw new ErrnoError('ENOTDIR', { syscall: 'mount', path: directory });
  }
  const server = exports.length === 0 ? undefined : new Server();
  for (const { path, aname, options } of exports) {
    const warn = (line: string) => console.error(`ninep: ${line}`);
    const except = mounts.map(({ directory }) => directory);
    server?.export(aname, await localBackend(path, { ...options, ...(argv.readOnly && { readonly: true }), except, warn }));
  }
  // A peer that is not there yet is dialled every few seconds, and may not be there for days.
  let last = '';
  const say = (line: string): void => {
    if (line !== last) console.error(`ninep: ${line}`);
    last = line;
  };
  const link = new Link({
    server,
    resync: argv.resync ?? address.scheme === 'dev',
    onEvent: (event) => say(linkLine(event)),
    ...(!argv.listen && { dial: (signal: AbortSignal) => dial(address, { signal, polled: true }) }),
  });
  const listener = argv.listen ? await listen(address, (transport) => link.take(transport), { polled: true }) : undefined;
  const mounted: { mount: Mount; client: Client }[] = [];
  const stopping = new AbortController();
  const stopped = untilStopped().then(() => stopping.abort());
  try {
    for (const one of mounts) mounted.push(await mountPeer(link, one, argv, stopping.signal, mounted[0]?.client));
    await notifyReady();
    if (mounts.length > 0) console.error(`ninep: mounted ${mounted.map(({ mount }) => mount.directory).join(', ')}`);
    await dropTo(argv.user);
    const path = address.scheme === 'unix' || address.scheme === 'dev' ? address.path : undefined;
    if (argv.user !== undefined && path !== undefined && !argv.listen) {
      await access(path, constants.R_OK | constants.W_OK).catch(({ message }: Error) => {
        console.error(`ninep: once it is lost, ${argv.user} cannot open the channel again: ${message}`);
      });
    }
    await stopped;
  } catch (error) {
    if (!stopping.signal.aborted) throw error;
  } finally {
    let left = false;
    for (const { mount, client } of mounted) {
      const unmounting = mount.unmount().catch(() => mount.unmount({ lazy: true }));
      await unmounting.catch((error: unknown) => {
        if (argv.user === undefined) throw error;
        left = true;
      });
      // Behind what could not be unmounted, writes may still be on their way.
      if (left) await Promise.race([client.close(), sleep(PARTING)]);
      client.destroy();
    }
    await listener?.close();
    await link.close();
    await server?.close();
    // Another user may not unmount what root has mounted; the mount's guard, which is still root's, does so when this process is gone.
    if (left) process.exit();
  }
}

function parseMount(text: string): { directory: string; aname: string } {
  const at = text.indexOf('=');
  return at < 0 ? { directory: text, aname: '' } : { directory: text.slice(0, at), aname: text.slice(at + 1) };
}

async function mountPeer(
  link: Link,
  { directory, aname }: { directory: string; aname: string },
  argv: BridgeArguments,
  signal: AbortSignal,
  beside: Client | undefined,
): Promise<{ mount: Mount; client: Client }> {
  const [{ Client }, { mount }] = await Promise.all([import('../../lib/index.js'), import('../../lib/fuse/index.js')]);
  const redial = (again: AbortSignal) => link.openSession({ signal: again });
  const client = new Client(await redial(signal), {
    beside,
    redial,
    retry: retryOf(argv.retry),
    onEvent: (event) => console.error(`ninep: ${directory}: ${recoveryLine(event)}`),
  });
  // What mounting asks the peer fails then: it may never be answered.
  const give = () => client.destroy();
  signal.addEventListener('abort', give, { once: true });
  try {
    signal.throwIfAborted();
    await client.attach({ aname, ...(process.getuid !== undefined && { uid: process.getuid() }) });
    return {
      client,
      mount: await mount(client, directory, {
        readonly: argv.readOnly,
        nodev: !argv.dev,
        nosuid: !argv.suid,
        ...(argv.allowOther !== undefined && { allowOther: argv.allowOther }),
      }),
    };
  } catch (error) {
    client.destroy();
    throw error;
  } finally {
    signal.removeEventListener('abort', give);
  }
}

/** What has to be root's is done: the rest may be another user's. */
async function dropTo(user: string | undefined): Promise<void> {
  if (user === undefined) return;
  const { setgid, setgroups, setuid } = process;
  if (setgid === undefined || setgroups === undefined || setuid === undefined) throw new UsageError('--user: not on this system');
  const { execFileSync } = await import('node:child_process');
  const ids = (flag: string) => execFileSync('id', [flag, user], { encoding: 'utf8' }).trim().split(' ').map(Number);
  const [gid = 0] = ids('-g');
  const groups = ids('-G');
  setgroups(groups);
  setgid(gid);
  setuid(user);
}

function linkLine(event: LinkEvent): string {
  switch (event.type) {
    case 'up':
      return `${event.peer}: connected`;
    case 'down':
      return `${event.peer}: lost${event.error === undefined ? '' : ` (${event.error.message})`}`;
    case 'refused':
      return `${event.peer}: turned away; ${event.present === event.peer ? 'another peer' : event.present} is here`;
    case 'failed':
      return failureLine(event.error).replace('ninep: ', '');
  }
}

function recoveryLine(event: RecoveryEvent): string {
  switch (event.type) {
    case 'lost':
      return 'peer lost; waiting for it';
    case 'giving-up':
      return 'peer still lost; requests fail until it is back';
    case 'recovered':
      return `back after ${event.milliseconds} ms, ${event.fids} fids, ${event.resent} requests sent again`;
    case 'casualty':
      return `${event.path}: ${event.code === 'ESTALE' ? 'not the same file any more (ESTALE)' : 'its lock went to somebody else (EIO)'}`;
  }
}

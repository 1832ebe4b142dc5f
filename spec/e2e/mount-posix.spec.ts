/** The POSIX suite on mounts of real servers: our own in two models, diod, and QEMU. */
import { appendFile, chmod, copyFile, mkdir } from 'node:fs/promises';
import { ofDiod, ofNinepServe, ofPathFids, ofTheProtocol } from '../contracts/posix/deviations.js';
import { defaultUsers } from '../contracts/posix/test.js';
import { type PosixGround, posixContract } from '../contracts/posix.js';
import { launch, type ServerProcess } from '../support/launcher.js';
import { requires } from '../support/requires.js';
import { serve, startNinep } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';

const isRoot = process.geteuid?.() === 0;
/** Whoever is not root cannot have devices or set-id bits in his mount. */
const RIGHTS = isRoot ? 'dev,suid' : 'nodev';

interface Served {
  readonly address: string;
  stop(): Promise<unknown>;
}

/** Mounts what `start` serves twice: to be written to, and read-only. */
async function ground(
  start: (root: TemporaryDirectory, source: string) => Promise<Served>,
  readOnly = true,
  options = RIGHTS,
): Promise<PosixGround> {
  const root = new TemporaryDirectory('posix-mount');
  await chmod(root.path, 0o755);
  const [source, directory, view] = [root.join('source'), root.join('mount'), root.join('view')];
  for (const each of [source, directory, view]) await mkdir(each, { mode: 0o755 });
  const served = await start(root, source);
  const mounts: ServerProcess[] = [await mountAt(served.address, directory, options)];
  if (readOnly) mounts.push(await mountAt(served.address, view, `${options},ro`));
  return {
    directory,
    ...(readOnly ? { readOnly: view } : {}),
    async release() {
      for (const mount of mounts) await mount.stop();
      await served.stop();
      root.remove();
    },
  };
}

const mountAt = (address: string, directory: string, options: string): Promise<ServerProcess> =>
  startNinep(['mount', '--foreground', address, directory, '-o', options], /mounted at/);

requires('own mount')('a mount of ninep serve', () => {
  // Who is not root serves with his own rights, and what needs several users is not tested.
  for (const model of isRoot ? (['passthrough', 'mapped-xattr'] as const) : (['none'] as const)) {
    posixContract(
      `a mount of ${model}`,
      () =>
        ground(
          async (_, source) => {
            const server = await serve(`${source},security_model=${model},aname=tree`);
            return { address: server.address('tree'), stop: () => server.stop() };
          },
          true,
          // One of them asks for content, as a mount of a server that is elsewhere does.
          model === 'mapped-xattr' ? `${RIGHTS},passthrough=off` : RIGHTS,
        ),
      {
        atLeast: isRoot ? 7000 : 3000,
        ...(isRoot ? {} : { lacks: ['root'] as const }),
        deviations: isRoot
          ? [...ofTheProtocol, ...ofNinepServe]
          : ofTheProtocol.filter(({ assertion }) => !assertion.startsWith('setid: ')),
      },
    );
  }
});

/** Servers that others have written are run by root. */
const others = isRoot ? requires : undefined;

others?.(
  'mount',
  'diod',
  'unshare',
)('a mount of diod', () => {
  posixContract(
    'a mount of diod',
    () =>
      ground(async (root, source) => {
        // diod takes nobody whom the host's data base does not know: it gets one of its own, in a mount name space of its own.
        const { alice, bob } = defaultUsers;
        for (const file of ['passwd', 'group']) await copyFile(`/etc/${file}`, root.join(file));
        const members = new Map<number, string[]>();
        for (const { name, uid, gid, groups } of [alice, bob]) {
          await appendFile(root.join('passwd'), `${name}:x:${uid}:${gid}::/:/bin/sh\n`);
          for (const group of groups) members.set(group, [...(members.get(group) ?? []), name]);
        }
        for (const [group, names] of members) await appendFile(root.join('group'), `g${group}:x:${group}:${names.join()}\n`);
        const socket = root.join('socket');
        const diod = await launch({
          command: 'unshare',
          args: [
            ...[
              '--mount',
              '--propagation',
              'private',
              'sh',
              '-euc',
              'mount --bind "$1/passwd" /etc/passwd; mount --bind "$1/group" /etc/group; shift; exec diod "$@"',
              'sh',
              root.path,
            ],
            ...['-f', '-n', '-c', '/dev/null', '-L', 'stderr', '-l', socket, '-e', source],
          ],
          ready: { connect: { path: socket } },
        });
        return { address: `unix:${socket}?aname=${encodeURIComponent(source)}`, stop: () => diod.stop() };
      }),
    { atLeast: 7000, deviations: [...ofTheProtocol, ...ofPathFids, ...ofDiod] },
  );
});

others?.('mount', 'qemu')('a mount of QEMU', () => {
  posixContract(
    'a mount of QEMU passthrough',
    // Each mount has a QEMU of its own, and two of them do not see each other's changes at once: no read-only one.
    () => ground(async (_, source) => ({ address: `qemu:path=${source},security_model=passthrough`, stop: async () => undefined }), false),
    {
      atLeast: 5000,
      // Debian's QEMU opens what it has just made to set its owner, and refuses to open special files. Its locks are stubs.
      lacks: ['special files', 'locks', 'read-only view'],
      deviations: [...ofTheProtocol, ...ofPathFids],
    },
  );
});

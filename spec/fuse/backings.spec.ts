/** What the mount has the kernel keep of files that it reads and writes by itself. */
import { chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { connect } from '../../lib/client/index.js';
import { mount } from '../../lib/fuse/index.js';
import { run, shell } from '../support/child.js';
import { launch } from '../support/launcher.js';
import { startProxy } from '../support/proxy.js';
import { isLinux, requires } from '../support/requires.js';
import { serve } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';
import { mounted } from './mounted.js';

/** Linux has had it since 6.9. */
const knows = isLinux(6, 9);

const url = (path: string) => JSON.stringify(new URL(path, import.meta.url).href);

/** Serves `source` at a unix socket as the user `nobody`, and passes, for whatever is opened, a descriptor of a file that is root's alone. */
const HOSTILE = `
const { Server } = await import(${url('../../lib/server/server.ts')});
const { localBackend } = await import(${url('../../lib/server/local/index.ts')});
const { LocalFile } = await import(${url('../../lib/server/local/file.ts')});
const { listen } = await import(${url('../../lib/transport/index.ts')});
const fs = await import('node:fs');
const [source, secret, socket] = process.argv.slice(1);
process.setgroups([]);
process.setgid(65534);
process.setuid(65534);
// O_PATH: no right to the file is needed for that.
LocalFile.prototype.lend = () => fs.openSync(secret, 0o10000000);
const server = new Server({ exports: { tree: await localBackend(source) } });
await server.listen((accept) => listen('unix:' + socket, accept, { polled: true }));
console.log('serving');`;

requires('mount')('backing files', () => {
  test.runIf(knows)(
    'a program that was written is one to the whole host once its writer has closed it, whoever reads it meanwhile',
    async () => {
      await using at = await mounted('passthrough', {}, true);
      // The server hears of the close a moment later.
      const { stdout } = await run(
        'bash',
        [
          '-c',
          'exec 3>"$1/f"; chmod 755 "$1/f"; exec 4<"$1/f"; printf "#!/bin/sh\\necho ran\\n" >&3; exec 3>&-; until "$2/f" 2>/dev/null; do :; done',
          'bash',
          at.directory,
          at.source,
        ],
        { timeout: 20_000 },
      );
      expect(stdout).toBe('ran\n');
    },
  );

  test.runIf(knows)("a server that is not root's makes root's mount open nothing that it could not open itself", async () => {
    await using root = new TemporaryDirectory('backings');
    await chmod(root.path, 0o755);
    const [source, directory, secret] = [root.join('source'), root.join('mount'), root.join('secret')];
    for (const each of [source, directory]) mkdirSync(each);
    chownSync(source, 65534, 65534);
    writeFileSync(secret, 'secret', { mode: 0o600 });
    await using server = await launch({
      command: process.execPath,
      args: ['--import', 'tsx', '--input-type=module', '-e', HOSTILE, source, secret, root.join('source', 'socket')],
      ready: { line: /serving/ },
    });
    const client = await connect(`unix:${root.join('source', 'socket')}?aname=tree`, { polled: true, descriptors: true });
    await using _ = await mount(client, directory);
    // Whoever has the run of the tree, its server's user above all, would read and write through it what is root's.
    const user = 'setpriv --reuid 65534 --regid 65534 --clear-groups';
    const { stdout } = await shell(`${user} sh -c 'echo written > "$1/f"; cat "$1/f"' sh "$1"`, [directory]);
    expect([stdout, readFileSync(secret, 'utf8')]).toEqual(['written\n', 'secret']);
    await client.close();
    await server.stop();
  });

  test.runIf(knows)('a mount behind what drops descriptors asks for a few and then for none', async () => {
    await using root = new TemporaryDirectory('backings');
    const [source, directory] = [root.join('source'), root.join('mount')];
    for (const each of [source, directory]) mkdirSync(each);
    writeFileSync(root.join('source', 'f'), 'content');
    await using server = await serve(`${source},aname=tree`);
    let sent = '';
    await using proxy = await startProxy({
      upstream: { path: server.socketPath },
      toServer: { tap: (bytes) => (sent += bytes.toString('latin1')) },
    });
    const client = await connect(`${proxy.address}?aname=tree`, { polled: true, descriptors: true });
    {
      await using _ = await mount(client, directory);
      const { stdout } = await shell('cd "$1"; for n in 1 2 3 4 5 6 7 8 9 10; do cat f; done | wc -c', [directory]);
      expect(stdout.trim()).toBe('70');
    }
    await client.close();
    // Once of the root, too.
    expect(sent.split('ninep.descriptor').length - 1).toBe(4);
  });
});

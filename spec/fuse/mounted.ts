import { chmod, mkdir } from 'node:fs/promises';
import { type Client, connect } from '../../lib/client/index.js';
import { type Mount, type MountOptions, mount } from '../../lib/fuse/index.js';
import { diod } from '../support/servers/diod.js';
import { serve } from '../support/servers/ninep.js';
import { TemporaryDirectory } from '../support/temporary.js';

/** A tree that is served by somebody and mounted by this very process: everything in it is done by other processes. */
export interface Mounted extends AsyncDisposable {
  readonly mount: Mount;
  readonly client: Client;
  /** The mount point. */
  readonly directory: string;
  /** What the server exports, on the disk. */
  readonly source: string;
  /** Where more mounts of the same server can go. */
  readonly root: TemporaryDirectory;
  readonly address: string;
  release(): Promise<void>;
}

export type ServerName = 'diod' | 'passthrough' | 'mapped-xattr' | 'mapped-file' | 'none';

/** `descriptors`: whether the client takes those of open files, so that the kernel can have their content by itself. */
export async function mounted(server: ServerName, options: MountOptions = {}, descriptors = false): Promise<Mounted> {
  const root = new TemporaryDirectory('mounted');
  await chmod(root.path, 0o755);
  const source = root.join('source');
  const directory = root.join('mount');
  await mkdir(source);
  await chmod(source, 0o755);
  await mkdir(directory);
  const running = server === 'diod' ? await diod(source) : await serve(`${source},security_model=${server},aname=tree`);
  const address = running.address(server === 'diod' ? source : 'tree');
  const client = await connect(address, { polled: true, descriptors });
  const mounting = await mount(client, directory, options);
  const release = async (): Promise<void> => {
    await mounting.unmount();
    await client.close();
    await running.stop();
    root.remove();
  };
  return { mount: mounting, client, directory, source, root, address, release, [Symbol.asyncDispose]: release };
}

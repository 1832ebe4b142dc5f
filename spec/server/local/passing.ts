import { type LocalOptions, localBackend, MemoryBackend, Server } from '../../../lib/server/index.js';
import { socketpair } from '../../../lib/sys/io.js';
import { PolledTransport } from '../../../lib/transport/polled.js';
import { RawClient } from '../../support/raw.js';

/** A server of a directory, or of a tree in memory where the path is empty. */
export async function serverOf(path: string, options: LocalOptions, exported: { readonly?: boolean }): Promise<Server> {
  const server = new Server({ exports: {} });
  server.export('tree', path === '' ? new MemoryBackend() : await localBackend(path, options), exported);
  return server;
}

/** A client to which its server can pass descriptors; its transport is the caller's to destroy. */
export async function passedTo(server: Server): Promise<RawClient> {
  const [ours, theirs] = socketpair();
  server.serve(new PolledTransport('theirs', theirs, theirs));
  const client = new RawClient(new PolledTransport('ours', ours, ours, { descriptors: true }));
  await client.version();
  await client.attach(0, 'tree');
  return client;
}

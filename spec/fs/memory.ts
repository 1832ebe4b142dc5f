import { Client } from '../../lib/client/index.js';
import { type Backend, Server } from '../../lib/server/index.js';
import { Session, type SessionOptions } from '../../lib/session/index.js';
import { memoryPair } from '../../lib/transport/index.js';

/** A client of a server in this process: no socket, the same frames. */
export async function connectMemory(backend: Backend, options: SessionOptions = {}): Promise<{ client: Client; server: Server }> {
  const server = new Server({ exports: { '/': backend } });
  const [near, far] = memoryPair();
  server.serve(far);
  const client = new Client(await Session.open(near, options));
  await client.attach({ uid: process.getuid?.() ?? 0 });
  return { client, server };
}

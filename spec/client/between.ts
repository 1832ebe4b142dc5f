import { Client, memoryPair, Session, type SessionOptions } from '../../lib/index.js';
import { type Message, VERSION_L } from '../../lib/protocol/index.js';
import { MemoryBackend, Server } from '../../lib/server/index.js';
import { middle, type Raw, type Saboteur } from '../interop/middle.js';

/** A client, our own server with a tree in memory, and whoever is put between them. */
export class Between implements AsyncDisposable {
  readonly server: Server;
  client!: Client;
  /** Has its way with every message, from when it is set. */
  saboteur: Saboteur | undefined;
  /** The names of the requests since it was last emptied, in order. */
  readonly requests: string[] = [];

  private constructor(server: Server) {
    this.server = server;
  }

  static async open(options: SessionOptions = {}): Promise<Between> {
    const between = new Between(new Server({ exports: { '/': new MemoryBackend() } }));
    const [near, far] = memoryPair();
    between.server.serve(far);
    const spy: Saboteur = {
      request(request) {
        between.requests.push(request.name);
        return between.saboteur?.request?.(request);
      },
      reply: (reply, request) => between.saboteur?.reply?.(reply, request),
    };
    const session = await Session.open(
      middle(near, VERSION_L, () => spy),
      options,
    );
    between.client = new Client(session);
    await between.client.attach();
    return between;
  }

  /** Fids that the server knows. */
  get serverFids(): number {
    return this.server.status().fids;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.saboteur = undefined;
    this.client.destroy();
    await this.server.close();
  }
}

/** Does something to the nth request from now on, and counts them. */
export function atRequest(
  nth: number,
  deed: (request: Message) => ReturnType<NonNullable<Saboteur['request']>>,
): Saboteur & { count: number } {
  return {
    count: 0,
    request(request: Message | Raw) {
      if (request.name === 'raw' || ++this.count !== nth) return undefined;
      return deed(request);
    },
  };
}

export const refusal = (request: Message): { answer: Message } => ({ answer: { name: 'Rlerror', tag: request.tag, body: { ecode: 5 } } });

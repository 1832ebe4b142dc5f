import { type OpenOptions, openSession } from '../session/dial.js';
import { Client, type ClientRecovery } from './client.js';

/** Where to attach and how: what the address says counts where these say nothing. */
export interface ClientOptions extends OpenOptions, Pick<ClientRecovery, 'retry' | 'silence' | 'onEvent'> {
  /** Default: the address's, or "". */
  aname?: string | undefined;
  uname?: string | undefined;
  /** n_uname. Default: the address's, or this process's user. */
  uid?: number | undefined;
}

/**
 * Connects to a 9P server and attaches to its tree.
 *
 * ```ts
 * await using client = await connect('tcp://127.0.0.1/srv/data');
 * await using fid = await client.root.walk(['etc', 'hosts']);
 * await fid.open(0);
 * const buffer = new Uint8Array(8192);
 * const count = await fid.read(buffer, 0);
 * ```
 *
 * Rejects with the error of connecting (`ECONNREFUSED`, …), with EPROTONOSUPPORT where the server speaks nothing of ours, or with the server's
 * answer to Tattach; nothing is left open then.
 */
export async function connect(address: string, options: ClientOptions = {}): Promise<Client> {
  const { session, attach } = await openSession(address, options);
  const redial = async (signal: AbortSignal) => (await openSession(address, { ...options, signal })).session;
  const client = new Client(session, { redial, retry: options.retry, silence: options.silence, onEvent: options.onEvent });
  try {
    await client.attach(
      {
        aname: options.aname ?? attach.aname ?? '',
        uname: options.uname ?? attach.uname ?? '',
        ...uidOf(options.uid ?? attach.uid ?? process.getuid?.()),
      },
      { signal: options.signal },
    );
  } catch (error) {
    client.destroy();
    throw error;
  }
  return client;
}

function uidOf(uid: number | undefined): { uid?: number } {
  return uid === undefined ? {} : { uid };
}

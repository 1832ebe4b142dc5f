import { mkdirSync } from 'node:fs';
import { dial, type Transport } from '../../lib/index.js';
import { type InteropOptions, interop, type Report } from '../../lib/interop/index.js';
import { TemporaryDirectory } from '../support/temporary.js';

/** A server that may be started more than once: some die of what a check sends them. */
export interface Peer extends AsyncDisposable {
  /** A connection to it, whatever happened to it before. */
  dial(): Promise<Transport>;
  /** Ends it, however it hangs, and starts it anew. */
  restart(): Promise<void>;
  readonly aname: string;
}

interface Running {
  readonly process: { readonly ended: boolean };
  address(): string;
  stop(): Promise<void>;
}

/** Keeps a server running for one directory. */
export async function keepRunning(aname: string, start: () => Promise<Running>): Promise<Peer> {
  let running = await start();
  const fetch = async (): Promise<Transport> => {
    if (running.process.ended) {
      await running.stop();
      running = await start();
    }
    return dial(running.address());
  };
  return {
    aname,
    async restart() {
      await running.stop();
      running = await start();
    },
    async dial() {
      try {
        return await fetch();
      } catch (error) {
        // It may be just about to end, with its socket still there.
        if (!running.process.ended) await new Promise((resolve) => setTimeout(resolve, 200));
        if (!running.process.ended) throw error;
        return fetch();
      }
    },
    [Symbol.asyncDispose]: () => running.stop(),
  };
}

/** Runs checks against a server for a fresh directory, which is below the export's root so that nothing lies beside the scratch directory. */
export async function inspectPeer(start: (path: string) => Promise<Peer>, options: InteropOptions): Promise<Report> {
  await using directory = new TemporaryDirectory('interop');
  const path = directory.join('export');
  mkdirSync(path);
  await using peer = await start(path);
  return await interop(() => peer.dial(), { aname: peer.aname, restart: () => peer.restart(), ...options });
}

import { writeFileSync } from 'node:fs';
import { freePort, launch, type ServerProcess } from '../launcher.js';
import { TemporaryDirectory } from '../temporary.js';

export interface Ganesha extends AsyncDisposable {
  readonly process: ServerProcess;
  readonly port: number;
  /** The address of the export, as `connect` takes it. */
  address(): string;
  stop(): Promise<void>;
}

/** Starts Debian's nfs-ganesha with its 9P front end for one directory; aname is the path. Needs root. */
export async function ganesha(path: string, { msize = 1_048_600 }: { msize?: number } = {}): Promise<Ganesha> {
  // It takes tcp ports only, and another process may take the one found free: so it is tried more than once.
  for (let tries = 1; ; tries++) {
    try {
      return await start(path, msize);
    } catch (error) {
      if (tries === 3) throw error;
    }
  }
}

async function start(path: string, msize: number): Promise<Ganesha> {
  const directory = new TemporaryDirectory('ganesha');
  const port = await freePort();
  const configuration = `
    NFS_CORE_PARAM { Protocols = 9P; NFS_Port = ${await freePort()}; MNT_Port = ${await freePort()}; Enable_NLM = false; Enable_RQUOTA = false; Bind_addr = 127.0.0.1; }
    NFSv4 { RecoveryRoot = "${directory.path}"; RecoveryBackend = fs; }
    _9P { _9P_TCP_Port = ${port}; _9P_TCP_Msize = ${msize}; }
    EXPORT {
      Export_Id = 1; Path = "${path}"; Pseudo = "/x"; Tag = "x"; Protocols = 9P; Access_Type = RW; Squash = None; SecType = sys;
      FSAL { Name = VFS; }
    }`;
  writeFileSync(directory.join('ganesha.conf'), configuration);
  const process = await launch({
    command: 'ganesha.nfsd',
    args: ['-F', '-L', 'STDERR', '-N', 'NIV_WARN', '-f', directory.join('ganesha.conf'), '-p', directory.join('pid')],
    ready: { connect: { port } },
    // It takes seconds to end in peace and has nothing to lose.
    stopSignal: 'SIGKILL',
  });
  const stop = async (): Promise<void> => {
    await process.stop();
    directory.remove();
  };
  return { process, port, address: () => `tcp://127.0.0.1:${port}${path}`, stop, [Symbol.asyncDispose]: stop };
}

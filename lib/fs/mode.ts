import type { Fid } from '../client/fid.js';
import type { RequestOptions } from '../client/verbs.js';
import { GETATTR_MODE, S_IFDIR, S_IFMT } from '../protocol/constants.js';

/**
 * Sets the permission bits of a file. The type goes along, as Linux's client sends it: QEMU's mapped models keep the mode as it comes,
 * and one without a type would make the file a thing of no kind (interop: setattr.mode).
 */
export async function setMode(fid: Fid, bits: number, request: RequestOptions | undefined): Promise<void> {
  const type = fid.isDirectory ? S_IFDIR : (await fid.getattr(GETATTR_MODE, request)).mode & S_IFMT;
  await fid.setattr({ mode: type | (bits & 0o7777) }, request);
}

import { closeSync } from 'node:fs';
import { DESCRIPTOR_XATTR, NOFID } from '../protocol/constants.js';
import { ErrnoError } from '../protocol/error.js';
import type { Fid } from './fid.js';
import type { RequestOptions } from './verbs.js';

/**
 * The descriptor that our own server has this open fid open by, passed over a unix socket: the caller's, who closes it (DESCRIPTOR_XATTR). The client's
 * connection must have been made with `polled` and `descriptors`. EOPNOTSUPP, or whatever another server says of an attribute it does not have, where there is none;
 * EBADF where the fid is not open.
 */
export function descriptorOf(fid: Fid, options?: RequestOptions): Promise<number> {
  let descriptor = -1;
  let over = false;
  return fid.client
    .request(
      'Txattrwalk',
      { fid: fid.number, newfid: NOFID, name: DESCRIPTOR_XATTR },
      {
        // Not spread: see withLate.
        signal: options?.signal,
        timeout: options?.timeout,
        descriptor: (fd) => {
          if (over) closeSync(fd);
          else descriptor = fd;
        },
      },
    )
    .then(
      () => {
        if (descriptor < 0) throw new ErrnoError('EBADF', { syscall: 'Txattrwalk' });
        return descriptor;
      },
      (error: unknown) => {
        over = true;
        // It may have come between the request's being given up and this.
        if (descriptor >= 0) closeSync(descriptor);
        throw error;
      },
    );
}

/** Whether the server passes descriptors in this conversation, and they are taken: asked with its root, which is not open. */
export async function passesDescriptors(root: Fid, options?: RequestOptions): Promise<boolean> {
  if (!root.client.session.takesDescriptors) return false;
  try {
    await root.client.request('Txattrwalk', { fid: root.number, newfid: NOFID, name: DESCRIPTOR_XATTR }, options);
    return true;
  } catch {
    return false;
  }
}

import { type Address, addressName } from '../transport/address.js';
import { TransportError } from '../transport/error.js';
import type { Transport } from '../transport/transport.js';
import { openQemu, type QemuOptions } from './transport.js';

export { type QemuOptions, qemuTransport } from './transport.js';

/** The transport of a `qemu:` address; its `msize`, if it has one, is the largest frame. What `registerScheme` takes. */
export async function dialQemu(address: Address, options: Omit<QemuOptions, 'path' | 'securityModel' | 'fsdev'> = {}): Promise<Transport> {
  if (address.scheme !== 'qemu') throw new TransportError('EPROTONOSUPPORT', 'connect', addressName(address));
  return openQemu(address.options, address.msize === undefined ? options : { maxFrame: Math.max(address.msize, 4096), ...options });
}

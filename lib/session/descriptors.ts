import { ProtocolError } from '../protocol/error.js';
import { type Reply, replyName, type TName } from '../protocol/messages.js';
import type { Transport } from '../transport/transport.js';
import type { Call } from './call.js';

const EOPNOTSUPP = 95;

/** Replies in a row that bring a descriptor which has not come, after which none is believed to come any more. */
const MAX_VAIN = 3;

/** The descriptors that come with replies of one conversation. */
export class Descriptors {
  readonly #transport: Transport;
  #vain = 0;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Whether any can come: not where something in between hands on the bytes only, which shows in the first replies. */
  get taken(): boolean {
    return this.#transport.takes === true && this.#vain < MAX_VAIN;
  }

  /**
   * The one that came with a reply which brings one. Where none has come: EOPNOTSUPP for whoever asked for nothing else, undefined for whoever asked for a file as
   * well, which is made and open.
   */
  of({ name }: Call): number | undefined {
    const fd = this.#transport.takeDescriptor?.();
    if (fd === undefined) {
      this.#vain++;
      if (name === 'Tcreateat') return undefined;
      throw new ProtocolError('no descriptor came with it', replyName(name), 0, EOPNOTSUPP);
    }
    this.#vain = 0;
    return fd;
  }
}

/**
 * Whether a reply says that a descriptor comes with it (DESCRIPTOR_XATTR). One that does not has none of those that have come already: they are other replies',
 * which may have arrived with it.
 */
export function bringsDescriptor(reply: Reply<TName>): boolean {
  return ('size' in reply && reply.size > 0) || ('lent' in reply && reply.lent > 0);
}

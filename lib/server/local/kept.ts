import type { Credentials } from './metadata.js';

/** What a mapped model remembers of a node's credentials. */
export class Kept {
  /** How often setuid or setgid was written down, by any export: a file may have another name, and a tree be exported twice. */
  static armed = 0;
  /** What `armed` was before the node's mode was read; NaN before it ever was. */
  asOf = Number.NaN;
  credentials: Credentials = {};
  /** The ctime they belong to; NaN where they are to be read anew. */
  ctimeSec = Number.NaN;
  ctimeNsec = 0;

  /** Has them read anew. Gives the empty credentials. */
  forget(): Credentials {
    this.ctimeSec = Number.NaN;
    this.credentials = {};
    return this.credentials;
  }
}

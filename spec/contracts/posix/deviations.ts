/**
 * Where a file system is known to differ from the local disk, and why. A listed assertion must fail: one that passes is struck off the list, and the suite says so.
 */
export interface Deviation {
  /** `group: assertion`, or the beginning of such names followed by `*`: then all that begin so. */
  readonly assertion: string;
  readonly reason: string;
  /** Fails now and then, or only with some kernels: passing is no error. */
  readonly sometimes?: boolean;
}

export function covers(deviation: Deviation, name: string): boolean {
  return deviation.assertion.endsWith('*') ? name.startsWith(deviation.assertion.slice(0, -1)) : deviation.assertion === name;
}

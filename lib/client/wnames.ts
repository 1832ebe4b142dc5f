import { MAXWELEM, NAME_MAX } from '../protocol/constants.js';
import { textBytes } from '../protocol/text.js';

/** Bytes of a Twalk without its names, and of the longest name in it. */
const TWALK = 17;
const WNAME = 2 + NAME_MAX;

/** Up to where `names` go into one Twalk from `from` on: MAXWELEM at most, and no more than there is room for below `msize`. One goes in any case. */
export function walkEnd(names: readonly string[], from: number, msize: number): number {
  const end = Math.min(from + MAXWELEM, names.length);
  if (TWALK + (end - from) * WNAME <= msize) return end;
  let size = TWALK;
  for (let to = from; to < end; to++) {
    size += 2 + textBytes(names[to] ?? '');
    if (size > msize) return Math.max(to, from + 1);
  }
  return end;
}

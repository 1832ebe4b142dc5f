/**
 * 9P2000's Rerror is a sentence. What the servers of that dialect say, and the Linux number that means the same; each is looked for
 * anywhere in the sentence, in this order.
 */
const sentences: readonly (readonly [RegExp, number])[] = [
  [/no such|not found|does not exist|file does not exist/i, 2],
  [/permission denied|access denied/i, 13],
  [/not permitted|not owner/i, 1],
  [/already exists|file exists/i, 17],
  [/not a directory/i, 20],
  [/is a directory/i, 21],
  [/not empty/i, 39],
  [/name too long/i, 36],
  [/read-?only/i, 30],
  [/no space/i, 28],
  [/unknown fid|fid unknown|bad file|use of fid|fid not open/i, 9],
  [/not (implemented|supported)/i, 95],
  [/invalid|bad (offset|argument|mode|message)/i, 22],
];

/** The Linux number (positive) for the text of an Rerror without one; EIO where the text is not known. */
export function legacyErrno(ename: string): number {
  return sentences.find(([pattern]) => pattern.test(ename))?.[1] ?? 5;
}

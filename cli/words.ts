/** Stands before a word that is no option, whatever it begins with: no word of a command line can have it. */
const PLAIN = '\0';

/** Marks what stands behind `--`, which the parser would keep from the command's own arguments. */
export function markPlain(words: readonly string[]): string[] {
  const dashes = words.indexOf('--');
  if (dashes <= 0) return [...words];
  return [...words.slice(0, dashes), ...words.slice(dashes + 1).map((word) => PLAIN + word)];
}

/** Takes those marks from the arguments. */
export function unmark(argv: Record<string, unknown>): void {
  const plain = (value: unknown): unknown => (typeof value === 'string' && value.startsWith(PLAIN) ? value.slice(PLAIN.length) : value);
  for (const [name, value] of Object.entries(argv)) argv[name] = Array.isArray(value) ? value.map(plain) : plain(value);
}

/** The option that takes a number and was given something else, or several; undefined if all is well. */
export function wrongNumber(argv: Readonly<Record<string, unknown>>): string | undefined {
  const isWrong = (value: unknown): boolean =>
    Array.isArray(value) ? value.some((one) => typeof one === 'number') : typeof value === 'number' && !Number.isFinite(value);
  // As --help has it: neither the letter for short nor the name that the program knows it by.
  const names = Object.keys(argv).filter((name) => name !== '_' && !/[A-Z]./.test(name) && isWrong(argv[name]));
  return names.sort((a, b) => b.length - a.length)[0];
}

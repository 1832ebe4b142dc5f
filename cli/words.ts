/** Stands before a word that is no option, whatever it begins with: no word of a command line can have it. */
const PLAIN = '\0';

/** Marks what stands behind `--`, which the parser would keep from the command's own arguments. */
export function markPlain(words: readonly string[]): string[] {
  const dashes = words.indexOf('--');
  if (dashes < 0) return [...words];
  return [...words.slice(0, dashes), ...words.slice(dashes + 1).map((word) => PLAIN + word)];
}

/** Before the command, `--` ends options that there are none of. */
export function withoutDashes(words: readonly string[]): string[] {
  return words.slice(words[0] === '--' ? 1 : 0);
}

/** Takes those marks from the arguments. */
export function unmark(argv: Record<string, unknown>): void {
  const plain = (value: unknown): unknown => (typeof value === 'string' && value.startsWith(PLAIN) ? value.slice(PLAIN.length) : value);
  for (const [name, value] of Object.entries(argv)) argv[name] = Array.isArray(value) ? value.map(plain) : plain(value);
}

/** What a switch is set to by a word; undefined for a word that is neither. */
export function switched(word: string): boolean | undefined {
  if (['on', 'yes', 'true', '1'].includes(word)) return true;
  return ['off', 'no', 'false', '0'].includes(word) ? false : undefined;
}

/** Seconds may be parts of them. All the other numbers count something. */
const SECONDS: ReadonlySet<string> = new Set(['timeout', 'connect-timeout', 'interval']);
const MAX_UID = 2 ** 32 - 1;

/** Options and arguments that may be given several times. */
const SEVERAL: ReadonlySet<string> = new Set(['export', 'fsdev', 'listen', 'mount', 'suite', 'check', 'paths', 'address', 'command']);

/** An option that says one thing, and was given several. */
export function givenTwice(argv: Readonly<Record<string, unknown>>): string | undefined {
  const name = Object.keys(argv).find((one) => one.length > 1 && !/[A-Z]/.test(one) && !SEVERAL.has(one) && Array.isArray(argv[one]));
  return name === undefined ? undefined : `${spelt(name)} is given more than once`;
}

/** What is wrong with an option that takes a number and was given something else, or several; undefined if all is well. */
export function wrongNumber(argv: Readonly<Record<string, unknown>>, words: readonly string[]): string | undefined {
  // As --help has it: neither the letter for short nor the name that the program knows it by.
  const names = Object.keys(argv).filter((name) => name !== '_' && !/[A-Z]./.test(name));
  const wrong = names.filter((name) => isWrong(argv[name]) || (typeof argv[name] === 'number' && isEmpty(name, words)));
  const [first] = wrong.sort((a, b) => b.length - a.length);
  if (first !== undefined) return `${spelt(first)} takes a number`;
  for (const name of names.sort((a, b) => b.length - a.length)) {
    const value = argv[name];
    if (typeof value !== 'number') continue;
    if (value < 0) return `--${name} takes a number from 0 on`;
    if (!SECONDS.has(name) && !Number.isInteger(value)) return `--${name} takes a whole number`;
    if (name === 'uid' && value > MAX_UID) return `--uid takes a number up to ${MAX_UID}`;
  }
  return undefined;
}

function isWrong(value: unknown): boolean {
  return Array.isArray(value) ? value.some((one) => typeof one === 'number') : typeof value === 'number' && !Number.isFinite(value);
}

/** The parser takes nothing for 0: a variable of a script that is not set would make it root. */
function isEmpty(name: string, words: readonly string[]): boolean {
  const option = spelt(name);
  const dashes = words.indexOf('--');
  const own = dashes < 0 ? words : words.slice(0, dashes);
  return own.some((word, index) => word === `${option}=` || (word === option && own[index + 1] === ''));
}

function spelt(name: string): string {
  return name.length === 1 ? `-${name}` : `--${name}`;
}

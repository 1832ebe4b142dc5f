import { isCommand } from './commands/index.js';

/** What is wrong with a command line, from what the parser says about it: which command it is about, and where to look. */
export function misuse(words: readonly string[], said: string): string {
  const message = said.replaceAll('\0', '').replace(/\s*\n\s*/g, ' ');
  const [first = ''] = words;
  if (isCommand(first)) return `${first}: ${message.slice(0, 1).toLowerCase()}${message.slice(1)}; ninep ${first} --help tells how`;
  if (first === '' || first.startsWith('-')) return message;
  return `${first}: no such command${message.startsWith('Did you mean') ? `. ${message}` : '; ninep --help lists them'}`;
}

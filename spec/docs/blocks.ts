/** A fenced block of a Markdown text. */
export interface Block {
  language: string;
  text: string;
}

export function blocksOf(markdown: string): Block[] {
  return [...markdown.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, language = '', text = '']) => ({ language, text }));
}

/** The words of each `ninep …` command line in a shell block: comments gone, continuation lines joined, quotes as a shell has them. */
export function ninepLines(shell: string): string[][] {
  return shell
    .replaceAll('\\\n', ' ')
    .split('\n')
    .map((line) => wordsOf(line))
    .map((words) => {
      const at = words.indexOf('ninep');
      const before = words.slice(0, Math.max(at, 0));
      return at >= 0 && before.every((word) => ['npx', 'sudo', '$'].includes(word)) ? words.slice(at + 1) : [];
    })
    .filter((words) => words.length > 0);
}

function wordsOf(line: string): string[] {
  const words: string[] = [];
  for (const [word] of line.matchAll(/(?<=^|\s)#.*$|(?:'[^']*'|"[^"]*"|[^\s'"])+/g)) {
    if (word.startsWith('#')) break;
    words.push(word.replaceAll(/'([^']*)'|"([^"]*)"/g, '$1$2'));
  }
  return words;
}

import { open } from 'node:fs/promises';

/**
 * Where lines about a connection go: the end of that file, or stderr. Rejects if the file cannot be opened; a line that cannot be written
 * later on is lost, and the next one is tried again. Nobody waits for it: the file may be behind what the lines are about.
 */
export async function logTo(path: string | undefined): Promise<(line: string) => void> {
  if (path === undefined) return (line) => console.error(line);
  const file = await open(path, 'a');
  let written = Promise.resolve();
  return (line) => {
    const text = `${new Date().toISOString()} ${line}\n`;
    written = written.then(() => file.appendFile(text)).catch(() => undefined);
  };
}

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** A shell that has files open, and does what it is told line by line: `tell` resolves when all of a line is done, and rejects where any command of it failed. */
export async function holder(at: string) {
  const loop = 'cd "$1"; trap \'failed=$BASH_COMMAND\' ERR; while read -r line; do failed=; eval "$line"; echo "done $failed"; done';
  const child = spawn('bash', ['-c', loop, 'bash', at], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const tell = async (line: string): Promise<string> => {
    child.stdin.write(`${line}\n`);
    for (let said = ''; ; ) {
      const { value, done } = await lines.next();
      if (done === true) throw new Error(`the shell ended at: ${line}`);
      if (value.startsWith('done ')) {
        if (value !== 'done ') throw new Error(`failed: ${value.slice(5)} in: ${line}\n${said}`);
        return said;
      }
      said += `${value}\n`;
    }
  };
  return {
    tell,
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      if (child.exitCode === null) await once(child, 'close');
    },
  };
}

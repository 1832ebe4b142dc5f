import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** A script in a process of its own, and of a user's, that answers each line it is told with a line. */
export function talker(script: string, user?: number) {
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { uid: user, cwd: '/', stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async tell(line: string): Promise<string> {
      child.stdin.write(`${line}\n`);
      const { value, done } = await lines.next();
      if (done === true) throw new Error(`the script ended at: ${line}`);
      return value;
    },
    async [Symbol.asyncDispose](): Promise<void> {
      child.stdin.end();
      if (child.exitCode === null) await once(child, 'close');
    },
  };
}

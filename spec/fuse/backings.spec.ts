/** What the mount has the kernel keep of files that it reads and writes by itself. */
import { release } from 'node:os';
import { expect, test } from 'vitest';
import { run } from '../support/child.js';
import { requires } from '../support/requires.js';
import { mounted } from './mounted.js';

/** Linux has had it since 6.9. */
const [major = 0, minor = 0] = release().split('.').map(Number);
const knows = major > 6 || (major === 6 && minor >= 9);

requires('mount')('backing files', () => {
  test.runIf(knows)(
    'a program that was written is one to the whole host once its writer has closed it, whoever reads it meanwhile',
    async () => {
      await using at = await mounted('passthrough', {}, true);
      // The server hears of the close a moment later.
      const { stdout } = await run(
        'bash',
        [
          '-c',
          'exec 3>"$1/f"; chmod 755 "$1/f"; exec 4<"$1/f"; printf "#!/bin/sh\\necho ran\\n" >&3; exec 3>&-; until "$2/f" 2>/dev/null; do :; done',
          'bash',
          at.directory,
          at.source,
        ],
        { timeout: 20_000 },
      );
      expect(stdout).toBe('ran\n');
    },
  );
});

/** Has a system call hang on a thread of its own (the opening of a FIFO that nobody writes to), and ends in the way that is asked for. */
import { Files } from '../../lib/sys/files.js';
import { AT_FDCWD, O_RDONLY } from '../../lib/sys/flags.js';
import { run } from '../../lib/sys/op.js';
import { OwnThreads } from '../../lib/sys/threads.js';

const [fifo = '', way] = process.argv.slice(2);
const threads = new OwnThreads();
// It shows that a thread is there; a second call hangs then.
await run(new Files(threads).openat(AT_FDCWD, '/', O_RDONLY));
void run(new Files(threads).openat(AT_FDCWD, fifo, O_RDONLY));
console.log('hangs');
if (way === 'exit') process.exit(3);
threads.close();
process.exitCode = 3;

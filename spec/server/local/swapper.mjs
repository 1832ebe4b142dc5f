// Swaps a directory and a symlink that leads outside, as fast as it can, until its parent goes. Arguments: the two names, a third one to go by.
import { renameSync } from 'node:fs';

const [directory, link, aside] = process.argv.slice(2);
process.on('disconnect', () => process.exit());
process.send?.('swapping');

function swap() {
  for (let turn = 0; turn < 200; turn++) {
    renameSync(directory, aside);
    renameSync(link, directory);
    renameSync(directory, link);
    renameSync(aside, directory);
  }
  setImmediate(swap);
}
swap();

/** Reads a file to its end through a stream, as a process of its own, and prints bytes, time and the most memory it took. */
import { pipeline } from 'node:stream/promises';
import { openFs } from '../../lib/fs/index.js';

const [address = '', from = '', to] = process.argv.slice(2);
await using fs = await openFs(address);
let most = 0;
let bytes = 0;
const source = fs.createReadStream(from);
source.on('data', (chunk) => {
  bytes += chunk.length;
  most = Math.max(most, process.memoryUsage.rss());
});
const begin = process.memoryUsage.rss();
if (to === undefined) await new Promise((resolve, reject) => source.on('close', resolve).on('error', reject));
else await pipeline(source, fs.createWriteStream(to));
console.log(JSON.stringify({ bytes, grown: most - begin }));

import { parseArgs } from 'node:util';
import { benchClient } from './client.js';
import { benchCodec } from './codec.js';
import { benchCounts } from './counts.js';
import { benchGrowth } from './growth.js';
import { benchGuest } from './guest.js';
import { benchMemory } from './memory.js';
import { benchMount } from './mount.js';
import { type Comparison, table } from './pairs.js';
import { benchServer } from './server.js';

/**
 * `npm run bench -- [codec] [counts] [server] [client] [guest] [mount] [growth] [memory] [--pairs 5] [--only REGEXP] [--mebibytes 512] [--files 2000] [--mount-options low_latency]`: everything as ratios
 * of two things done in turn, medians and spread; counts are instructions against those of the last release (--record: they become its own). Needs root, diod, valgrind, QEMU and busybox for the guest, and for whole tables sshfs, openssh-sftp-server, gcc and libfuse3-dev.
 */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    pairs: { type: 'string', default: '5' },
    only: { type: 'string', default: '' },
    mebibytes: { type: 'string', default: '512' },
    record: { type: 'boolean', default: false },
    files: { type: 'string', default: '2000' },
    'mount-options': { type: 'string', default: '' },
  },
});
const pairs = Number(values.pairs);
const only = new RegExp(values.only);
const options = values['mount-options'] === '' ? [] : ['-o', values['mount-options']];
const sections: Readonly<Record<string, () => Promise<Comparison[]>>> = {
  codec: () => benchCodec({ pairs, only }),
  counts: () => benchCounts({ only, record: values.record }),
  server: () => benchServer({ pairs, only }),
  client: () => benchClient({ pairs, only }),
  guest: () => benchGuest({ pairs, only }),
  mount: () => benchMount({ pairs, only, mebibytes: Number(values.mebibytes), files: Number(values.files), options }),
  growth: () => benchGrowth(),
  memory: () => benchMemory(),
};
for (const name of positionals.length > 0 ? positionals : Object.keys(sections)) {
  const section = sections[name];
  if (section === undefined) throw new Error(`no section is called ${name}: ${Object.keys(sections).join(', ')}`);
  const comparisons = await section();
  if (comparisons.length > 0) console.log(`\n## ${name}\n\n${table(comparisons)}`);
}

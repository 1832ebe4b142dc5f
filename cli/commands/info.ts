import type { CommandModule } from 'yargs';
import type { Client } from '../../lib/index.js';
import { type ConnectionArguments, connectionOptions, connectTo } from '../connection.js';
import { bytesText, columns, json } from '../format.js';
import { example } from '../help.js';

interface InfoArguments extends ConnectionArguments {
  address: string;
  json: boolean;
  count: number;
}

export const info: CommandModule<object, InfoArguments> = {
  command: 'info <address>',
  describe: 'what a server speaks, what it exports, how far away it is',
  builder: (yargs) =>
    connectionOptions(yargs)
      .positional('address', { type: 'string', demandOption: true, describe: 'where the server is' })
      .option('json', { type: 'boolean', default: false, describe: 'print JSON' })
      .option('count', { type: 'number', default: 50, describe: 'round trips to time' })
      .example(...example('ninep info tcp://10.0.2.15/srv', 'dialect, msize, root and round-trip time of that server')),
  async handler(argv) {
    await using client = await connectTo(argv.address, argv);
    const roundTrip = await measure(client, argv.count);
    const statistics = await client.root.statfs().catch(() => undefined);
    const { session, root } = client;
    if (argv.json) {
      const { dialect, msize, address } = session;
      console.log(json({ address, dialect, msize, root: root.qid, statfs: statistics ?? null, roundTripMicroseconds: roundTrip }));
      return;
    }
    const rows = [
      ['address', session.address],
      ['dialect', session.dialect],
      ['msize', `${session.msize} (${bytesText(session.maxPayload)} of data in a message)`],
      ['root', `qid type 0x${root.qid.type.toString(16)} path 0x${root.qid.path.toString(16)} version ${root.qid.version}`],
      ['round trip', `${roundTrip.median} µs (least ${roundTrip.least}, most ${roundTrip.most}, of ${argv.count})`],
    ];
    if (statistics !== undefined) {
      const { bsize, blocks, bavail, type, files, ffree, namelen } = statistics;
      rows.push(
        ['file system', `type 0x${type.toString(16)}, names of ${namelen} bytes`],
        ['space', `${bytesText(blocks * BigInt(bsize))}, ${bytesText(bavail * BigInt(bsize))} free`],
        ['files', `${files}, ${ffree} free`],
      );
    }
    console.log(columns(rows));
  },
};

interface RoundTrip {
  median: number;
  least: number;
  most: number;
}

/** Times Tgetattr of the root, in microseconds: the smallest request that every server answers. */
async function measure(client: Client, count: number): Promise<RoundTrip> {
  const times: number[] = [];
  for (let index = 0; index < Math.max(1, count); index++) {
    const begin = performance.now();
    await client.root.getattr();
    times.push(Math.round((performance.now() - begin) * 1000));
  }
  times.sort((a, b) => a - b);
  return { median: times[times.length >> 1] ?? 0, least: times[0] ?? 0, most: times[times.length - 1] ?? 0 };
}

import { describe } from 'vitest';
import { pipe, socketpair } from '../../lib/sys/io.js';
import {
  type DialOptions,
  dial,
  type Listener,
  type ListenOptions,
  listen,
  memoryPair,
  type Transport,
} from '../../lib/transport/index.js';
import { type Pair, transportContract } from '../contracts/transport.js';
import { run } from '../support/child.js';
import { Random } from '../support/random.js';
import { requires } from '../support/requires.js';
import { TemporaryDirectory } from '../support/temporary.js';

/** A listener's connection and the client's end of it. */
async function connected(
  address: string,
  dialOptions: DialOptions,
  listenOptions: ListenOptions,
  to?: (listener: Listener) => string,
): Promise<Pair> {
  let accept: (transport: Transport) => void = () => {};
  const accepted = new Promise<Transport>((resolve) => {
    accept = resolve;
  });
  const listener = await listen(address, accept, listenOptions);
  const a = await dial(to?.(listener) ?? listener.address, dialOptions);
  return { a, b: await accepted, dispose: () => listener.close() };
}

function inDirectory(make: (path: string) => Promise<Pair>): Promise<Pair> {
  const directory = new TemporaryDirectory('transport');
  return make(directory.join('sock')).then((pair) => ({
    ...pair,
    async dispose() {
      await pair.dispose?.();
      directory.remove();
    },
  }));
}

transportContract('memory', {
  capacity: 0,
  async make(backlog) {
    const [a, b] = memoryPair(backlog === undefined ? {} : { backlog });
    return { a, b };
  },
});

const random = new Random();
transportContract(`memory, cut at random (seed ${random.seed})`, {
  capacity: 0,
  async make(backlog) {
    const [a, b] = memoryPair({ ...(backlog !== undefined && { backlog }), chunk: () => random.integer(1, 100_000) });
    return { a, b };
  },
});

for (const [label, dialPolled, listenPolled] of [
  ['node', false, false],
  ['polled', true, true],
  ['polled to node', true, false],
  ['node to polled', false, true],
] as const) {
  const suite = dialPolled || listenPolled ? requires('linux') : describe;
  suite(label, () => {
    transportContract(`tcp, ${label}`, {
      make: (backlog) => connected('tcp://127.0.0.1:0', { backlog, polled: dialPolled }, { backlog, polled: listenPolled }),
    });
    transportContract(`unix, ${label}`, {
      make: (backlog) =>
        inDirectory((path) => connected(`unix:${path}`, { backlog, polled: dialPolled }, { backlog, polled: listenPolled })),
    });
  });
}

requires('linux')('descriptors', () => {
  for (const polled of [false, true]) {
    transportContract(`fd:N of a socket pair${polled ? ', polled' : ''}`, {
      async make(backlog) {
        const [left, right] = socketpair();
        return { a: await dial(`fd:${left}`, { backlog, polled }), b: await dial(`fd:${right}`, { backlog, polled }) };
      },
    });
    transportContract(`fd:R,W of pipes${polled ? ', polled' : ''}`, {
      async make(backlog) {
        const [there, back] = [pipe(), pipe()];
        return {
          a: await dial(`fd:${there[0]},${back[1]}`, { backlog, polled }),
          b: await dial(`fd:${back[0]},${there[1]}`, { backlog, polled }),
        };
      },
    });
  }
});

/** Carries its stdin and stdout to a unix socket. */
const PLUG = `const s = require('net').connect(process.argv[1]);
process.stdin.pipe(s).pipe(process.stdout);
s.on('error', () => process.exit());
process.stdout.on('error', () => process.exit());`;

transportContract('exec', {
  make: (backlog) =>
    inDirectory((path) =>
      connected(`unix:${path}`, { backlog }, { backlog }, () => `exec:${process.execPath} -e "${PLUG.replaceAll('\n', ' ')}" ${path}`),
    ),
});

requires('openssl')('tls', () => {
  transportContract('tls', {
    async make(backlog) {
      const directory = new TemporaryDirectory('tls');
      const [key, cert] = [directory.join('key.pem'), directory.join('cert.pem')];
      await run('openssl', [
        ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
        ...['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', cert],
      ]);
      const pair = await connected(`tls://127.0.0.1:0?cert=${cert}&key=${key}`, { backlog }, { backlog }, (listener) =>
        listener.address.replace('127.0.0.1', 'localhost').replace(/\?.*|$/, `?ca=${cert}`),
      );
      directory.remove();
      return pair;
    },
  });
});

/** What Firecracker does on its unix socket, for one guest whose port 564 is the unix socket given. */
transportContract('vsock+unix', {
  make: (backlog) =>
    inDirectory(async (path) => {
      const { createServer, connect } = await import('node:net');
      const guest = `${path}_guest`;
      const host = createServer((socket) => {
        socket.once('data', (line) => {
          if (line.toString() !== 'CONNECT 564\n') return socket.destroy();
          const inner = connect(guest, () => {
            socket.write('OK 1073741824\n');
            socket.pipe(inner).pipe(socket);
          });
          for (const [one, other] of [
            [socket, inner],
            [inner, socket],
          ] as const)
            one.on('error', () => other.destroy()).on('close', () => other.destroy());
          return undefined;
        });
      }).listen(path);
      const pair = await connected(`unix:${guest}`, { backlog }, { backlog }, () => `vsock+unix:${path}:564`);
      return {
        ...pair,
        async dispose() {
          await pair.dispose?.();
          host.close();
        },
      };
    }),
});

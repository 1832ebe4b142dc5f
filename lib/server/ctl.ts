import { MemoryBackend } from './memory/backend.js';
import type { Server } from './server.js';

/**
 * The synthetic export `ctl`: what the server is and does, as files that can be read with nothing but a 9P client (diod has one of that
 * name). `version`, `exports`, `connections` and `counters` are lines of text, `status.json` is all of it for programs.
 */
export function controlBackend(server: Server, version: string): MemoryBackend {
  const ctl = new MemoryBackend({ maxBytes: 0, maxFiles: 16, mode: 0o555 });
  ctl.synthetic('version', () => `${version}\n`);
  ctl.synthetic('exports', () => lines(server.exports));
  ctl.synthetic('connections', () =>
    lines(
      server.connections.map((connection) => {
        const { id, peer, msize, fids, pending, attachments } = connection;
        const who = attachments.map(({ uname, uid, aname }) => ` ${JSON.stringify(uname)}:${uid}@${JSON.stringify(aname)}`).join('');
        return `${id} ${peer} msize ${msize} fids ${fids.size} pending ${pending}${who}`;
      }),
    ),
  );
  ctl.synthetic('counters', () => {
    const { messages, ...rest } = server.status();
    return lines(Object.entries({ ...rest, ...messages }).map(([name, count]) => `${name} ${count}`));
  });
  ctl.synthetic('status.json', () => `${JSON.stringify({ version, exports: server.exports, ...server.status() }, undefined, 2)}\n`);
  return ctl;
}

function lines(all: readonly string[]): string {
  return all.map((line) => `${line}\n`).join('');
}

import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { expect, test, vi } from 'vitest';
import { requires } from '../requires.js';
import { bootGuest } from './guest.js';

vi.setConfig({ testTimeout: 180_000 });

requires('guest')('a guest', () => {
  test('boots, runs a script, and powers off with its exit code', async () => {
    await using guest = await bootGuest({
      script: 'uname -r; cat /test/hello; echo oops >&2; exit 7',
      files: { '/test/hello': 'hello, guest\n' },
    });
    expect(await guest.done()).toEqual({ code: 7, output: `${guest.release}\nhello, guest\noops\n` });
    expect(guest.process.ended).toBe(true);
  });

  test('says what went wrong when its script fails', async () => {
    await using guest = await bootGuest({ script: 'echo before; false; echo after' });
    await expect(guest.succeeded()).rejects.toThrow(/script exited with 1[\s\S]*before/);
    expect(guest.output).not.toContain('after');
  });

  test('reaches the host, and is reached through a forwarded port', async () => {
    const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    const taken = once(server, 'connection');
    await using guest = await bootGuest({ script: `nc 10.0.2.2 ${port} < /etc/hosts; nc -l -p 7 -e cat`, forward: [7] });
    const [socket]: Socket[] = await taken;
    let text = '';
    for await (const bytes of socket ?? []) text += String(bytes);
    socket?.end();
    expect(text).toContain('10.0.2.2 host');
    server.close();

    // QEMU takes the connection before the guest listens, and hangs up again then.
    const echo = async (): Promise<string> => {
      const client = connect(guest.port(7), '127.0.0.1');
      client.end('through the wall');
      let answer = '';
      try {
        for await (const bytes of client) answer += String(bytes);
      } catch {
        // Reset: not yet.
      }
      return answer;
    };
    await expect.poll(echo, { timeout: 50_000, interval: 200 }).toBe('through the wall');
    await guest.succeeded();
  });

  test('has virtio-serial ports by name', async () => {
    await using guest = await bootGuest({
      script: `
        exec 3<>/dev/virtio-ports/org.ninep.0 4<>/dev/virtio-ports/org.ninep.1
        echo open
        read -r line <&3; echo "0 $line" >&3
        read -r line <&4; echo "1 $line" >&4
        read -r line <&3; echo "$line"`,
      serial: ['org.ninep.0', 'org.ninep.1'],
    });
    const first = connect(guest.serial('org.ninep.0'));
    const second = connect(guest.serial('org.ninep.1'));
    await guest.said(/open/);
    first.write('a\n');
    second.write('b\n');
    const answers = await Promise.all([once(first, 'data'), once(second, 'data')]);
    expect(answers.map(([bytes]) => String(bytes))).toEqual(['0 a\n', '1 b\n']);
    first.write('done\n');
    expect(await guest.succeeded()).toContain('done\n');
    first.destroy();
    second.destroy();
  });

  test('boots anew after a reset', async () => {
    await using guest = await bootGuest({ script: 'echo "up $(cat /proc/sys/kernel/random/boot_id)"; read -r line', reboot: true });
    const [, before] = await guest.said(/up (\S+)\n/);
    await guest.control('system_reset');
    const [, after] = await guest.said(/up \S+\n[\s\S]*up (\S+)\n/);
    expect(after).not.toBe(before);
    guest.type('\n');
    await guest.succeeded();
  });

  test('is killed with its test', async () => {
    const guest = await bootGuest({ script: 'echo up; read -r line' });
    await guest.said(/up/);
    await guest.kill();
    expect(guest.process.ended).toBe(true);
    await expect(guest.done(1000)).rejects.toThrow(/did not say/);
  });
});

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Address, AddressError, formatAddress, parseAddress } from '../../lib/transport/index.js';
import { inFull } from '../support/sized.js';

const accepted: [string, Address][] = [
  ['tcp://host', { scheme: 'tcp', host: 'host', port: 564 }],
  ['tcp://127.0.0.1:5640/srv/my%20dir', { scheme: 'tcp', host: '127.0.0.1', port: 5640, aname: '/srv/my dir' }],
  ['tcp://[::1]:9/x?uname=me&uid=0&msize=65536', { scheme: 'tcp', host: '::1', port: 9, aname: '/x', uname: 'me', uid: 0, msize: 65536 }],
  ['tcp://h/?aname=ctl', { scheme: 'tcp', host: 'h', port: 564, aname: 'ctl' }],
  ['tcp://:0', { scheme: 'tcp', host: '', port: 0 }],
  ['tls://h:1/a?ca=/c%26d&insecure=1', { scheme: 'tls', host: 'h', port: 1, aname: '/a', ca: '/c&d', insecure: true }],
  ['unix:/run/9p.sock?aname=/srv', { scheme: 'unix', path: '/run/9p.sock', aname: '/srv' }],
  ['unix:relative.sock', { scheme: 'unix', path: 'relative.sock' }],
  ['unix:/odd?name?', { scheme: 'unix', path: '/odd?name' }],
  ['exec:ssh vm diod -f -n -r 0 -w 1?aname=/', { scheme: 'exec', command: 'ssh vm diod -f -n -r 0 -w 1', aname: '/' }],
  ['exec:curl http://x/?q=1', { scheme: 'exec', command: 'curl http://x/?q=1' }],
  ['exec:curl http://x/?q=1?version=9P2000.u', { scheme: 'exec', command: 'curl http://x/?q=1', version: '9P2000.u' }],
  ['exec:echo a?aname=1?', { scheme: 'exec', command: 'echo a?aname=1' }],
  ['exec:ls a?b&c', { scheme: 'exec', command: 'ls a?b&c' }],
  ['fd:3', { scheme: 'fd', read: 3, write: 3 }],
  ['fd:0,1?aname=/x', { scheme: 'fd', read: 0, write: 1, aname: '/x' }],
  ['dev:/dev/virtio-ports/org.ninep.0?uid=1000', { scheme: 'dev', path: '/dev/virtio-ports/org.ninep.0', uid: 1000 }],
  ['vsock://2:564/srv', { scheme: 'vsock', cid: 2, port: 564, aname: '/srv' }],
  ['vsock://:564', { scheme: 'vsock', port: 564 }],
  ['vsock+unix:/run/v.sock:564', { scheme: 'vsock+unix', path: '/run/v.sock', port: 564 }],
  ['vsock+unix:/run/a:b:1?aname=/', { scheme: 'vsock+unix', path: '/run/a:b', port: 1, aname: '/' }],
  ['qemu:path=/srv,security_model=mapped-xattr', { scheme: 'qemu', options: 'path=/srv,security_model=mapped-xattr' }],
  ['qemu:path=/a?b,security_model=none?msize=8192', { scheme: 'qemu', options: 'path=/a?b,security_model=none', msize: 8192 }],
];

describe('addresses', () => {
  test.each(accepted)('%s', (text, address) => {
    expect(parseAddress(text)).toEqual(address);
    expect(parseAddress(formatAddress(address))).toEqual(address);
  });

  test.each([
    ['/srv', 'no scheme'],
    ['ftp://x', "unknown scheme 'ftp'"],
    ['tcp:host', 'no tcp://host:port'],
    ['tcp://h:port', "port 'port' is not a number"],
    ['tcp://h:65536', "port '65536' is not a number from 0 to 65535"],
    ['tcp://h/a?aname=b', "aname twice, as '/a' and 'b'"],
    ['tcp://h?anme=/x', "unknown option 'anme'"],
    ['tcp://h?aname', "option 'aname' without a value"],
    ['tcp://h?uid=1&uid=2', "option 'uid' twice"],
    ['tcp://h?uid=-1', "uid '-1' is not a number"],
    ['tcp://h?ca=/x', "unknown option 'ca'"],
    ['tcp://h/%zz', "bad %-escape '/%zz'"],
    ['unix:', 'no path'],
    ['unix:/a\0b', 'NUL byte in path'],
    ['exec:?aname=/', 'no command'],
    ['fd:', "descriptor '' is not a number"],
    ['fd:1,2,3', 'more than two descriptors'],
    ['vsock://2', 'no vsock://CID:PORT'],
    ['vsock+unix:/run/x', 'no port'],
  ])('%j: %s', (text, problem) => {
    expect(() => parseAddress(text)).toThrow(AddressError);
    expect(() => parseAddress(text)).toThrow(problem);
    try {
      parseAddress(text);
    } catch (error) {
      expect(String(error)).not.toContain('\n');
      expect(String(error)).not.toContain('\0');
      expect(String(error)).toContain(text.slice(0, 3));
    }
  });

  test('any address survives being written out and read back', () => {
    const word = fc.string({ minLength: 1 }).filter((text) => !/[\0\ud800-\udfff]/.test(text));
    const attach = fc.record(
      { aname: word, uname: word, version: word, uid: fc.nat({ max: 0xffffffff }), msize: fc.nat({ max: 0xffffffff }) },
      { requiredKeys: [] },
    );
    const port = fc.nat({ max: 65535 });
    const kind: fc.Arbitrary<Address> = fc.oneof(
      fc.record({ scheme: fc.constant('tcp' as const), host: fc.constantFrom('a', '::1', '10.0.0.1', ''), port }),
      fc.record({ scheme: fc.constant('unix' as const), path: word }),
      fc.record({ scheme: fc.constant('exec' as const), command: word }),
      fc.record({ scheme: fc.constant('dev' as const), path: word }),
      fc.record({ scheme: fc.constant('fd' as const), read: port, write: port }),
      fc.record({ scheme: fc.constant('vsock' as const), cid: port, port }),
      fc.record({ scheme: fc.constant('vsock+unix' as const), path: word, port }),
      fc.record({ scheme: fc.constant('qemu' as const), options: word }),
    );
    fc.assert(
      fc.property(kind, attach, (address, options) => {
        const whole = { ...address, ...options };
        expect(parseAddress(formatAddress(whole))).toEqual(whole);
      }),
      { numRuns: inFull(2000, 500) },
    );
  });

  test('any text gives an address or an AddressError', () => {
    const start = fc.constantFrom('', 'tcp://', 'tls://', 'unix:', 'exec:', 'fd:', 'dev:', 'vsock://', 'vsock+unix:', 'qemu:');
    fc.assert(
      fc.property(start, fc.string(), (scheme, text) => {
        try {
          const address = parseAddress(scheme + text);
          expect(parseAddress(formatAddress(address))).toEqual(address);
        } catch (error) {
          expect(error).toBeInstanceOf(AddressError);
        }
      }),
      { numRuns: inFull(5000, 1000) },
    );
  });
});

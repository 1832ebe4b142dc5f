import { AddressError } from './error.js';

/**
 * Where a 9P peer is, as one line of text:
 *
 * | form | peer |
 * |---|---|
 * | `tcp://host[:564][/aname]` | a TCP server; an IPv6 host stands in brackets; no host: any interface (to listen) |
 * | `tls://host[:564][/aname]` | the same inside TLS; options `ca=FILE cert=FILE key=FILE servername=NAME insecure=1` |
 * | `unix:/path/to.sock` | a unix socket |
 * | `exec:COMMAND` | stdin and stdout of a shell command |
 * | `fd:N`, `fd:R,W` | an inherited descriptor, or one to read and one to write |
 * | `dev:PATH` | a character device, such as a virtio-serial port |
 * | `vsock://CID:PORT` | AF_VSOCK; no CID: any (to listen) |
 * | `vsock+unix:/path:PORT` | vsock behind a unix socket, as Firecracker and Cloud Hypervisor have it |
 * | `qemu:path=DIR,security_model=…,…` | a QEMU of our own that serves DIR |
 *
 * Every form takes options after it: `?aname=…&uname=…&uid=…&msize=…&version=…`, with `%XX` for bytes that are special there.
 * They begin at the **last** `?`. COMMAND and the text of `qemu:` may hold anything: there the last `?` counts only if nothing but
 * known options follows it. A closing `?` with nothing behind it ends the text, so `exec:cat x?aname=1?` has no options.
 */
export type Address = (
  | TcpAddress
  | TlsAddress
  | UnixAddress
  | ExecAddress
  | FdAddress
  | DevAddress
  | VsockAddress
  | VsockUnixAddress
  | QemuAddress
) &
  AttachOptions;

/** What an address says about the attach that is to follow; nothing of it concerns the transport. */
export interface AttachOptions {
  aname?: string;
  uname?: string;
  uid?: number;
  msize?: number;
  version?: string;
}

export type AddressScheme = Address['scheme'];

export interface TcpAddress {
  scheme: 'tcp';
  /** Empty for any interface. */
  host: string;
  port: number;
}

export interface TlsAddress {
  scheme: 'tls';
  host: string;
  port: number;
  /** Files in PEM form. */
  ca?: string;
  cert?: string;
  key?: string;
  servername?: string;
  /** Take any certificate. */
  insecure?: boolean;
}

export interface UnixAddress {
  scheme: 'unix';
  path: string;
}

export interface ExecAddress {
  scheme: 'exec';
  command: string;
}

export interface FdAddress {
  scheme: 'fd';
  read: number;
  write: number;
}

export interface DevAddress {
  scheme: 'dev';
  path: string;
}

export interface VsockAddress {
  scheme: 'vsock';
  /** 2 is the host, 1 this machine itself; undefined is any, to listen. */
  cid?: number;
  port: number;
}

export interface VsockUnixAddress {
  scheme: 'vsock+unix';
  path: string;
  port: number;
}

export interface QemuAddress {
  scheme: 'qemu';
  /** The options of `-fsdev local`, as QEMU takes them: `path=/srv,security_model=mapped-xattr`. */
  options: string;
}

/** The port that IANA gave to 9P. */
export const PORT = 564;

const ATTACH = ['aname', 'uname', 'uid', 'msize', 'version'];
const TLS = ['ca', 'cert', 'key', 'servername', 'insecure'];
const MAX_U32 = 0xffffffff;

/** Throws AddressError. */
export function parseAddress(input: string): Address {
  const colon = input.indexOf(':');
  if (colon < 0) throw new AddressError(input, `no scheme (tcp://, unix:, exec:, …)`);
  const scheme = input.slice(0, colon);
  const { text, query } = split(input, scheme, input.slice(colon + 1));
  const address = parseText(input, scheme, text);
  return Object.assign(address, attachOptions(input, address, query));
}

function parseText(input: string, scheme: string, text: string): Address {
  switch (scheme) {
    case 'tcp':
    case 'tls':
      return parseHost(input, scheme, text);
    case 'unix':
      return { scheme, path: required(input, 'path', text) };
    case 'exec':
      return { scheme, command: required(input, 'command', text) };
    case 'fd':
      return parseDescriptors(input, text);
    case 'dev':
      return { scheme, path: required(input, 'path', text) };
    case 'vsock':
      return parseVsock(input, text);
    case 'vsock+unix': {
      const colon = text.lastIndexOf(':');
      if (colon < 0) throw new AddressError(input, 'no port');
      return { scheme, path: required(input, 'path', text.slice(0, colon)), port: number(input, 'port', text.slice(colon + 1), MAX_U32) };
    }
    case 'qemu':
      return { scheme, options: required(input, 'path=…', text) };
    default:
      throw new AddressError(input, `unknown scheme '${scheme}'`);
  }
}

/** Cuts the options off. */
function split(input: string, scheme: string, text: string): { text: string; query: Map<string, string> } {
  const mark = text.lastIndexOf('?');
  const query = new Map<string, string>();
  if (mark < 0) return { text, query };
  const free = scheme === 'exec' || scheme === 'qemu';
  const known = scheme === 'tls' ? [...ATTACH, ...TLS] : ATTACH;
  const tail = text.slice(mark + 1);
  for (const part of tail === '' ? [] : tail.split('&')) {
    const equals = part.indexOf('=');
    const name = equals < 0 ? part : part.slice(0, equals);
    if (equals < 0 || !known.includes(name)) {
      if (free) return { text, query: new Map() };
      throw new AddressError(input, equals < 0 && known.includes(name) ? `option '${name}' without a value` : `unknown option '${name}'`);
    }
    if (query.has(name)) throw new AddressError(input, `option '${name}' twice`);
    query.set(name, decode(input, part.slice(equals + 1)));
  }
  return { text: text.slice(0, mark), query };
}

function attachOptions(input: string, address: Address, query: Map<string, string>): AttachOptions {
  const options: AttachOptions = {};
  const aname = query.get('aname');
  if (aname !== undefined) {
    if (address.aname !== undefined && address.aname !== '/')
      throw new AddressError(input, `aname twice, as '${address.aname}' and '${aname}',`);
    options.aname = aname;
  }
  const uname = query.get('uname');
  if (uname !== undefined) options.uname = uname;
  const version = query.get('version');
  if (version !== undefined) options.version = required(input, 'version', version);
  const uid = query.get('uid');
  if (uid !== undefined) options.uid = number(input, 'uid', uid, MAX_U32);
  const msize = query.get('msize');
  if (msize !== undefined) options.msize = number(input, 'msize', msize, MAX_U32);
  if (address.scheme === 'tls') {
    for (const name of ['ca', 'cert', 'key', 'servername'] as const) {
      const value = query.get(name);
      if (value !== undefined) address[name] = required(input, name, value);
    }
    const insecure = query.get('insecure');
    if (insecure !== undefined) address.insecure = number(input, 'insecure', insecure, 1) === 1;
  }
  return options;
}

function parseHost(input: string, scheme: 'tcp' | 'tls', text: string): Address {
  const match = /^\/\/(?:\[([^\]]*)\]|([^/:]*))(?::([^/]*))?(\/.*)?$/s.exec(text);
  if (match === null) throw new AddressError(input, `no ${scheme}://host:port`);
  const [, bracketed, plain, port, path] = match;
  const address: Address = { scheme, host: bracketed ?? plain ?? '', port: port === undefined ? PORT : number(input, 'port', port, 65535) };
  if (path !== undefined) address.aname = decode(input, path);
  return address;
}

function parseDescriptors(input: string, text: string): Address {
  const [read = '', write = read, ...more] = text.split(',');
  if (more.length > 0) throw new AddressError(input, `more than two descriptors '${text}'`);
  return { scheme: 'fd', read: number(input, 'descriptor', read, 0x7fffffff), write: number(input, 'descriptor', write, 0x7fffffff) };
}

function parseVsock(input: string, text: string): Address {
  const match = /^\/\/([^:/]*):([^/]*)(\/.*)?$/s.exec(text);
  if (match === null) throw new AddressError(input, 'no vsock://CID:PORT');
  const [, cid = '', port = '', path] = match;
  const address: Address = { scheme: 'vsock', port: number(input, 'port', port, MAX_U32) };
  if (cid !== '' && cid !== '*') address.cid = number(input, 'CID', cid, MAX_U32);
  if (path !== undefined) address.aname = decode(input, path);
  return address;
}

function required(input: string, what: string, text: string): string {
  if (text === '') throw new AddressError(input, `no ${what}`);
  if (text.includes('\0')) throw new AddressError(input.replaceAll('\0', '\\0'), `NUL byte in ${what}`);
  return text;
}

function number(input: string, what: string, text: string, max: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value > max) throw new AddressError(input, `${what} '${text}' is not a number from 0 to ${max}`);
  return value;
}

function decode(input: string, text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new AddressError(input, `bad %-escape '${text}'`);
  }
}

/** The text that `parseAddress` takes back to the same address. */
export function formatAddress(address: Address): string {
  const query: string[] = [];
  let { aname } = address;
  let text = addressName(address);
  const hierarchical = address.scheme === 'tcp' || address.scheme === 'tls' || address.scheme === 'vsock';
  if (hierarchical && aname?.startsWith('/')) {
    text += encode(aname);
    aname = undefined;
  }
  const values: Record<string, string | number | boolean | undefined> = { ...address, aname, insecure: undefined };
  for (const name of address.scheme === 'tls' ? [...ATTACH, ...TLS] : ATTACH) {
    const value = values[name];
    if (value !== undefined) query.push(`${name}=${encode(String(value))}`);
  }
  if (address.scheme === 'tls' && address.insecure !== undefined) query.push(`insecure=${address.insecure ? 1 : 0}`);
  if (query.length > 0) return `${text}?${query.join('&')}`;
  return text.includes('?') ? `${text}?` : text;
}

/** The address without the options behind it: names a transport in messages. */
export function addressName(address: Address): string {
  switch (address.scheme) {
    case 'tcp':
    case 'tls':
      return `${address.scheme}://${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
    case 'unix':
      return `unix:${address.path}`;
    case 'dev':
      return `${address.scheme}:${address.path}`;
    case 'exec':
      return `exec:${address.command}`;
    case 'fd':
      return address.read === address.write ? `fd:${address.read}` : `fd:${address.read},${address.write}`;
    case 'vsock':
      return `vsock://${address.cid ?? ''}:${address.port}`;
    case 'vsock+unix':
      return `vsock+unix:${address.path}:${address.port}`;
    case 'qemu':
      return `qemu:${address.options}`;
  }
}

function encode(text: string): string {
  return encodeURIComponent(text).replaceAll('%2F', '/');
}

import { isAbsolute, resolve } from 'node:path';
import type { LocalOptions } from '../lib/server/index.js';
import { UsageError } from './failure.js';
import { switched } from './words.js';

/** One tree to serve, as the command line says. */
export interface ExportArgument {
  path: string;
  aname: string;
  options: LocalOptions;
}

/** `a=1,b,c=x,,y` in parts; a doubled comma stands for one in a value, as QEMU has it. */
export function commaParts(text: string): [key: string, value: string | undefined][] {
  return text
    .replaceAll(',,', '\0')
    .split(',')
    .filter((part) => part !== '')
    .map((part) => {
      const [key = '', ...rest] = part.replaceAll('\0', ',').split('=');
      return [key, rest.length === 0 ? undefined : rest.join('=')];
    });
}

/** `--export /srv/data,security_model=mapped-xattr,readonly=on,aname=data`: the path is first, or `path=`. */
export function parseExport(text: string): ExportArgument {
  return fromParts(commaParts(text), text, true);
}

/** QEMU's own words: `-fsdev local,id=f0,path=/srv,security_model=none`. The id is the aname if there is no `aname=`. */
export function parseFsdev(text: string): ExportArgument {
  const [driver, ...parts] = commaParts(text);
  if (driver?.[0] !== 'local' || driver[1] !== undefined) throw new UsageError(`-fsdev ${text}: only the driver "local" is served`);
  return fromParts(parts, text, false);
}

function fromParts(parts: [string, string | undefined][], text: string, bare: boolean): ExportArgument {
  let path: string | undefined;
  let aname: string | undefined;
  let id: string | undefined;
  const options: LocalOptions = {};
  const setters: Record<string, (value: string) => void> = {
    path: (value) => {
      path = value;
    },
    aname: (value) => {
      aname = value;
    },
    id: (value) => {
      id = value;
    },
    security_model: (value) => {
      options.securityModel = oneOf(value, ['mapped-xattr', 'mapped-file', 'mapped', 'passthrough', 'none'] as const, 'security_model');
    },
    multidevs: (value) => {
      options.multidevs = oneOf(value, ['remap', 'forbid', 'warn'] as const, 'multidevs');
    },
    lend: (value) => {
      options.lend = onOff(value, 'lend');
    },
    readonly: (value) => {
      options.readonly = onOff(value, 'readonly');
    },
    fmode: (value) => {
      options.fmode = octal(value, 'fmode');
    },
    dmode: (value) => {
      options.dmode = octal(value, 'dmode');
    },
    // QEMU's host-cache policy; here the host's page cache is always used, as "immediate" differs only in when it is written.
    writeout: () => undefined,
  };
  parts.forEach(([key, value], index) => {
    if (value === undefined && index === 0 && bare) path = key;
    else if (value === undefined && key === 'readonly') options.readonly = true;
    else {
      const setter = setters[key];
      if (setter === undefined || value === undefined) throw new UsageError(`export ${text}: ${key} is not an option of an export`);
      setter(value);
    }
  });
  if (path === undefined || path === '') throw new UsageError(`export ${text}: which directory?`);
  const whole = isAbsolute(path) ? path : resolve(path);
  return { path: whole, aname: aname ?? id ?? whole, options };
}

function oneOf<T extends string>(value: string, words: readonly T[], what: string): T {
  const word = words.find((one) => one === value);
  if (word === undefined) throw new UsageError(`${what}=${value}: it is one of ${words.join(', ')}`);
  return word;
}

function onOff(value: string, what: string): boolean {
  return switched(value) ?? fail(`${what}=${value}: it is on or off`);
}

function octal(value: string, what: string): number {
  return /^0?[0-7]{1,4}$/.test(value) ? Number.parseInt(value, 8) : fail(`${what}=${value}: it is octal permission bits, such as 0640`);
}

function fail(message: string): never {
  throw new UsageError(message);
}

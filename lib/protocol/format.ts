import type { Message } from './codec.js';

/**
 * One line for a trace: `Twalk tag 3 fid 1 newfid 2 wnames [a, b]`. Payloads show their length only.
 */
export function format({ name, tag, body }: Message): string {
  let line = `${name} tag ${tag}`;
  for (const [key, value] of Object.entries(body)) line += ` ${key} ${text(value)}`;
  return line;
}

function text(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'bigint') return `0x${value.toString(16)}`;
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (Array.isArray(value)) return `[${value.map(text).join(', ')}]`;
  if (typeof value === 'object' && value !== null) {
    return `{${Object.entries(value)
      .map(([key, part]) => `${key} ${text(part)}`)
      .join(' ')}}`;
  }
  return String(value);
}

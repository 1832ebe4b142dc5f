/**
 * Strings on the wire. 9P says UTF-8, but a file name on Linux is any bytes, and servers pass them on. Bytes that are not UTF-8
 * become lone surrogates U+DC80 to U+DCFF and go back to the same bytes, so every name survives the round trip (the
 * "surrogateescape" rule of PEP 383). Well-formed text is not touched.
 */
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** The text of `bytes` from `start` up to `end`. */
export function decodeText(bytes: Uint8Array, start = 0, end = bytes.length): string {
  // Most names are short ASCII, for which a TextDecoder call costs several times the loop, and eight at a time half of one by one.
  if (end - start <= 48) {
    let text = '';
    let at = start;
    for (; at + 8 <= end; at += 8) {
      const a = bytes[at] as number;
      const b = bytes[at + 1] as number;
      const c = bytes[at + 2] as number;
      const d = bytes[at + 3] as number;
      const e = bytes[at + 4] as number;
      const f = bytes[at + 5] as number;
      const g = bytes[at + 6] as number;
      const h = bytes[at + 7] as number;
      if ((a | b | c | d | e | f | g | h) >= 0x80) break;
      text += String.fromCharCode(a, b, c, d, e, f, g, h);
    }
    for (; at < end; at++) {
      const byte = bytes[at] as number;
      if (byte >= 0x80) break;
      text += String.fromCharCode(byte);
    }
    if (at === end) return text;
  }
  const view = bytes.subarray(start, end);
  try {
    return decoder.decode(view);
  } catch {
    return decodeEscaped(view);
  }
}

/** Writes `text` into `bytes` at `at`, which has room for `textBytes(text)`; returns the bytes written. */
export function encodeText(text: string, bytes: Uint8Array, at: number): number {
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    if (unit >= 0x80) return index + encodeWide(text.slice(index), bytes, at + index);
    bytes[at + index] = unit;
  }
  return text.length;
}

/** How many bytes `text` takes on the wire. */
export function textBytes(text: string): number {
  let bytes = text.length;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    if (unit < 0x80) continue;
    if (unit < 0x800) bytes += 1;
    else if (unit >= 0xd800 && unit < 0xdc00 && isLow(text.charCodeAt(index + 1))) {
      bytes += 2;
      index++;
    } else if (!isEscape(unit)) bytes += 2;
  }
  return bytes;
}

/** The bytes of `text`, in a buffer of their own. */
export function textToBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(textBytes(text));
  encodeText(text, bytes, 0);
  return bytes;
}

function isLow(unit: number): boolean {
  return unit >= 0xdc00 && unit < 0xe000;
}

function isEscape(unit: number): boolean {
  return unit >= 0xdc80 && unit <= 0xdcff;
}

function encodeWide(text: string, bytes: Uint8Array, at: number): number {
  if (!/[\udc80-\udcff]/.test(text)) return encoder.encodeInto(text, bytes.subarray(at)).written;
  let written = 0;
  // By code point: an escape is a low surrogate that no high one precedes.
  for (const point of text) {
    const unit = point.charCodeAt(0);
    if (point.length === 1 && isEscape(unit)) bytes[at + written++] = unit - 0xdc00;
    else written += encoder.encodeInto(point, bytes.subarray(at + written)).written;
  }
  return written;
}

function decodeEscaped(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; ) {
    const length = sequenceLength(bytes[at] as number);
    try {
      if (length === 0 || at + length > bytes.length) throw new TypeError('not UTF-8');
      text += decoder.decode(bytes.subarray(at, at + length));
      at += length;
    } catch {
      text += String.fromCharCode(0xdc00 + (bytes[at] as number));
      at++;
    }
  }
  return text;
}

/** Bytes in the UTF-8 sequence that `lead` begins; 0 if it begins none. */
function sequenceLength(lead: number): number {
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead < 0xe0) return 2;
  if (lead >= 0xe0 && lead < 0xf0) return 3;
  if (lead >= 0xf0 && lead < 0xf5) return 4;
  return 0;
}

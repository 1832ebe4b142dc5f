import { VERSION_L, VERSION_UNKNOWN } from '../protocol/constants.js';

/**
 * The version to answer a Tversion's with (version(5)): what follows a dot is an extension that this server does not know, so the
 * client is told the part before it. A message that walks and gets attributes in one would be agreed on here.
 */
export function negotiate(offered: string): typeof VERSION_L | typeof VERSION_UNKNOWN {
  return offered === VERSION_L || offered.startsWith(`${VERSION_L}.`) ? VERSION_L : VERSION_UNKNOWN;
}

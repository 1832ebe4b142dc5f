/** Both roles on one stream: this side serves and asks at the same time. */
export { Bridge, type BridgeOptions } from './bridge.js';
export { Link, type LinkEvent, type LinkOptions } from './link.js';
export { ResyncTransport } from './resync.js';

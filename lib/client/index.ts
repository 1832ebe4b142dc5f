export { type Attachment, Client } from './client.js';
export { type ClientOptions, connect } from './connect.js';
export { entryIsDirectory, Fid, type OpenState } from './fid.js';
export type { AttributeChange, Opened, RequestOptions } from './verbs.js';

export { type Attachment, Client, type ClientRecovery } from './client.js';
export { type ClientOptions, connect } from './connect.js';
export { type Created, createAt } from './creating.js';
export { descriptorOf, type NameWatch, passesDescriptors, watchOf } from './descriptor.js';
export { entryIsDirectory, Fid, type OpenState } from './fid.js';
export type { RecoveryEvent } from './recovery.js';
export type { AttributeChange, Opened, RequestOptions } from './verbs.js';

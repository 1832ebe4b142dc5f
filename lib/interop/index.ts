/** Holds any 9P server against the protocol: one check for each rule, and reports that can be read, kept and compared. */
export { type Check, type Group, groupNames } from './check.js';
export { allChecks } from './checks/index.js';
export type { Outcome } from './outcome.js';
export { formatResult, formatText, type Report, type Result, summary, toJSON, toMarkdown } from './report.js';
export { type InteropOptions, inspect, interop, selected, type Target } from './run.js';

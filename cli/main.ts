#!/usr/bin/env node
import { hurry } from './hurry.js';

// First of all, while next to nothing is loaded that would have to be loaded again.
hurry();
const { run } = await import('./ninep.js');
await run();

import { expect, test } from 'vitest';
import { MemoryBackend } from '../../lib/server/memory/index.js';
import { backendContract } from '../contracts/backend.js';

backendContract('memory', () => {
  const backend = new MemoryBackend();
  return { backend, counts: () => backend.counts() };
});

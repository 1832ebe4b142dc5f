import { expect, test } from 'vitest';
import { callbackFs, fileSystem } from '../../lib/fs/index.js';
import { MemoryBackend } from '../../lib/server/index.js';
import { connectMemory } from './memory.js';

test('everything that the types promise is there', async () => {
  const { client, server } = await connectMemory(new MemoryBackend());
  const fs = fileSystem(client);
  const node: Record<string, unknown> = await import('node:fs/promises');
  const names = Object.keys(node).filter((name) => name !== 'default' && name !== 'lchmod' && name !== 'constants');
  const ours: Record<string, unknown> = { ...fs };
  // Node 22's own matcher of patterns is not promised: fast-glob takes this object.
  const later = ['glob'];
  expect(names.filter((name) => !later.includes(name) && typeof ours[name] !== 'function')).toEqual([]);
  expect(fs.constants).toBe(node['constants']);
  const face: Record<string, unknown> = { ...callbackFs(fs) };
  expect(['readFile', 'stat', 'open', 'createReadStream'].every((name) => typeof face[name] === 'function')).toBe(true);
  await client.close();
  await server.close();
});

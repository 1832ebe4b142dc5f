import { ErrnoError } from '../protocol/error.js';
import type { Bridge } from './bridge.js';
import { ended } from './ended.js';
import type { Request } from './kernel/request.js';
import type { ThreadLook } from './looked.js';
import type { Link, Node } from './nodes.js';
import { staleIfGone } from './tree.js';

/**
 * The names by which a thread may have come to a node, if it went by what the kernel believes; none where that was told to look again, and did. `just`: what
 * it has looked up a moment ago, if that was the node: it may be by another name that it comes now. ESTALE where it may be by one that is known to lead
 * elsewhere.
 */
export function namesBelieved(
  { tree, looked, options }: Bridge,
  node: Node,
  just: ThreadLook | undefined,
  request: Request,
): readonly Link[] {
  const { nodes } = tree;
  if (just?.again || options.cache === 'loose') return [];
  if (just === undefined) {
    // Who comes again without having looked comes by no name, but by a descriptor: the newest is as good as any. So it is where threads are not told
    // apart (another pid namespace; the native back-end): who has looked again would not be known by it.
    if (request.pid <= 0 || looked.takeAgain(request.pid, node)) return node.links.slice(-1);
    // A name that is not known here the kernel has kept through a rename(2) that was overtaken.
    if (node.links.length === 0 || nodes.isMistakable(node)) throw new ErrnoError('ESTALE');
    return nodes.believedNames(node);
  }
  if (request.pid > 0 && nodes.isMistakable(node)) throw new ErrnoError('ESTALE');
  const { link } = just;
  // What has lost since the name that it was looked up by is the file that was meant all the same.
  return link === undefined || !node.links.includes(link) ? [] : nodes.believedNames(node).filter((each) => each !== link);
}

/** Whether names still lead to a node. ESTALE makes the kernel look itself. */
export async function leadStill(bridge: Bridge, node: Node, links: readonly Link[], user: number, request: Request): Promise<void> {
  if (links.length > 0) await ended(links.map((link) => leadsStill(bridge, node, link, user, request)));
}

/** What walks there to see it becomes the node's next fid, where that is its newest name. */
async function leadsStill({ tree }: Bridge, node: Node, link: Link, user: number, { options }: Request): Promise<void> {
  const parent = await tree.reach(link.parent, user, options);
  try {
    const fid = await parent.fid.walk([link.name], options);
    const same = node.is(fid.qid);
    if (same && link === node.links[node.links.length - 1] && tree.nodes.has(node.id)) tree.keep(node, user, fid);
    else tree.clunker.give(fid);
    if (!same) throw new ErrnoError('ESTALE');
  } catch (error) {
    throw staleIfGone(error);
  } finally {
    parent.drop();
  }
}

import { type ReadableByteStreamController, ReadableStream } from 'node:stream/web';
import type { OpenFile } from './open-file.js';

/** The rest of an open file as a byte stream. It ends where somebody closes the file, as Node has it. */
export function webStream(file: OpenFile): ReadableStream {
  const holder = {};
  let reading = false;
  let ending = false;
  const end = (controller: ReadableByteStreamController): void => {
    controller.close();
    controller.byobRequest?.respond(0);
    file.drop(holder);
  };
  return new ReadableStream({
    type: 'bytes',
    autoAllocateChunkSize: 256 * 1024,
    start(controller) {
      file.hold(holder, () => {
        ending = true;
        if (!reading) end(controller);
      });
    },
    async pull(controller) {
      const view = controller.byobRequest?.view;
      if (!view) return;
      reading = true;
      try {
        const into = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
        const count = await file.read(into, null, file.context.request, holder);
        if (count === 0 || ending) end(controller);
        else controller.byobRequest?.respond(count);
      } catch (error) {
        file.drop(holder);
        throw error;
      } finally {
        reading = false;
      }
    },
    cancel: () => file.drop(holder),
  });
}

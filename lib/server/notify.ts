/**
 * Tells the service manager that the service is ready, if one started this process and asked to be told (sd_notify(3): it sets
 * NOTIFY_SOCKET). Rejects with a SystemError if it cannot be told.
 */
export async function notifyReady(): Promise<void> {
  const socket = process.env['NOTIFY_SOCKET'];
  if (socket === undefined || socket === '') return;
  const { notify } = await import('../sys/notify.js');
  notify(socket, 'READY=1');
}

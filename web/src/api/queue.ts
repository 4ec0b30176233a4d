/** `/api/queue`: whether the queue of the caller's tenant is paused. */
import { call } from './client';
import type { QueueView } from './schema';

export const getQueue = (signal?: AbortSignal) => call<QueueView>('GET', '/api/queue', { signal });
export const pauseQueue = () => call<QueueView>('POST', '/api/queue/pause');
export const resumeQueue = () => call<QueueView>('POST', '/api/queue/resume');

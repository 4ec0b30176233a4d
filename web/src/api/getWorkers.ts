/** `GET /api/workers`: a page of the workers and the jobs they are rendering. */
import { call } from './client';
import type { WorkerListView } from './schema';

export const getWorkers = (cursor: string | null, signal?: AbortSignal) =>
  call<WorkerListView>('GET', '/api/workers', { query: { cursor }, signal });

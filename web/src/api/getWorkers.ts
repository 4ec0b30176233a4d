/** `GET /api/workers`: the workers and the jobs they are rendering. */
import { call } from './client';
import type { WorkerListView } from './schema';

export const getWorkers = (signal?: AbortSignal) => call<WorkerListView>('GET', '/api/workers', { signal });

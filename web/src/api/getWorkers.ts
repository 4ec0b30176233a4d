/** `GET /api/workers`: who renders, and what. */
import { call } from './client';
import type { WorkerListView } from './schema';

export const getWorkers = (signal?: AbortSignal) => call<WorkerListView>('GET', '/api/workers', { signal });

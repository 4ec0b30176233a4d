/** `GET /api/jobs/{id}`: one job, with its place in the queue. */
import { call } from './client';
import type { JobView } from './schema';

export const getJob = (jobId: string, signal?: AbortSignal) => call<JobView>('GET', `/api/jobs/${jobId}`, { signal });

/** `POST /api/jobs/{id}/restore`: bring a deleted job back. */
import { call } from './client';
import type { JobView } from './schema';

export const restoreJob = (jobId: string) => call<JobView>('POST', `/api/jobs/${jobId}/restore`);

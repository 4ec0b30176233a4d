/** `POST /api/jobs/{id}/restore`: restore a deleted job. */
import { call } from './client';
import type { JobView } from './schema';

export const restoreJob = (jobId: string) => call<JobView>('POST', `/api/jobs/${jobId}/restore`);

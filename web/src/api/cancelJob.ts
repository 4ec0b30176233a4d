/** `POST /api/jobs/{id}/cancel`: stop a job. */
import { call } from './client';
import type { JobView } from './schema';

export const cancelJob = (jobId: string) => call<JobView>('POST', `/api/jobs/${jobId}/cancel`);

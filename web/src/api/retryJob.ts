/** `POST /api/jobs/{id}/retry`: retry a failed or cancelled job. */
import { call } from './client';
import type { JobView } from './schema';

export const retryJob = (jobId: string) => call<JobView>('POST', `/api/jobs/${jobId}/retry`);

/** `POST /api/jobs/{id}/retry`: try a failed or cancelled job again. */
import { call } from './client';
import type { JobView } from './schema';

export const retryJob = (jobId: string) => call<JobView>('POST', `/api/jobs/${jobId}/retry`);

/** `POST /api/jobs/{id}/continue`: continue a draft to its end; among candidates this is the choice. */
import { call } from './client';
import type { JobView } from './schema';

export const continueJob = (jobId: string) => call<JobView>('POST', `/api/jobs/${jobId}/continue`);

/** `POST /api/jobs/{id}/move`: move a queued job within its queue. */
import { call } from './client';
import type { JobView } from './schema';

export const moveToFront = (jobId: string) => call<JobView>('POST', `/api/jobs/${jobId}/move`, { body: { to: 'front' } });

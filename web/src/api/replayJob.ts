/** `/api/jobs/{id}/replay`: render a finished job again, and compare both videos. */
import { call, freshKey } from './client';
import type { JobView, ReplayView } from './schema';

export const replayJob = (jobId: string) => call<JobView>('POST', `/api/jobs/${jobId}/replay`, { idempotencyKey: freshKey() });

export const getReplay = (replayId: string, signal?: AbortSignal) => call<ReplayView>('GET', `/api/jobs/${replayId}/replay`, { signal });

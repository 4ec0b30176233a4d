/** `POST /api/generate`: submit one prompt as a job. */
import { call } from './client';
import type { JobView, VideoRequest } from './schema';

export const generate = (request: VideoRequest, idempotencyKey: string) =>
  call<JobView>('POST', '/api/generate', { body: request, idempotencyKey });

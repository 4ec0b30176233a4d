/** `POST /api/generate/batch`: submit several prompts as jobs, all or nothing. */
import { call } from './client';
import type { BatchView, VideoRequest } from './schema';

export const generateBatch = (requests: VideoRequest[], idempotencyKey: string) =>
  call<BatchView>('POST', '/api/generate/batch', { body: { requests }, idempotencyKey });

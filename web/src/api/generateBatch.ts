/** `POST /api/generate/batch`: several prompts become jobs, all or none. */
import { call } from './client';
import type { BatchView, VideoRequest } from './schema';

export const generateBatch = (requests: VideoRequest[], idempotencyKey: string) =>
  call<BatchView>('POST', '/api/generate/batch', { body: { requests }, idempotencyKey });

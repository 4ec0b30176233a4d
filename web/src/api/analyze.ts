/** `GET /api/optimization/analyze`: how the fleet would render a prompt. */
import { call } from './client';
import type { AnalyzeView, VideoRequest } from './schema';

/** The fields that the analysis depends on. */
export type AnalyzeQuery = Omit<VideoRequest, 'seed' | 'deadline_s' | 'similar_prompts'>;

export const analyze = (query: AnalyzeQuery, signal?: AbortSignal) =>
  call<AnalyzeView>('GET', '/api/optimization/analyze', { query: { ...query }, signal });

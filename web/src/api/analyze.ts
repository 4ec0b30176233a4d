/** `GET /api/optimization/analyze`: how the fleet would render a prompt. */
import { call } from './client';
import type { AnalyzeView, VideoRequest } from './schema';

/** The fields that the analysis depends on. */
export type AnalyzeQuery = Omit<VideoRequest, 'seed' | 'deadline_s' | 'similar_prompts'>;

export const analyze = (query: AnalyzeQuery, signal?: AbortSignal) =>
  call<AnalyzeView>('GET', '/api/optimization/analyze', { query: { ...query, loras: inQuery(query.loras), image: idOf(query.image) }, signal });

/** As a query string writes them. */
const inQuery = (loras: VideoRequest['loras']) => (loras ?? []).map(({ name, scale }) => `${name}:${scale ?? 1}`).join(',') || undefined;

const idOf = (image: VideoRequest['image']) => (typeof image === 'object' ? image?.id : image);

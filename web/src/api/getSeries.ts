/** `GET /api/stats/series`: statistics over time. */
import { call } from './client';
import type { SeriesView } from './schema';

/** How far back, and the size of each bucket. */
export interface SeriesQuery {
  hours: number;
  bucket: 'hour' | 'day';
}

export const getSeries = (query: SeriesQuery, signal?: AbortSignal) =>
  call<SeriesView>('GET', '/api/stats/series', { query: { ...query }, signal });

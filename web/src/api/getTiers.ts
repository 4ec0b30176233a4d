/** `GET /api/tiers`: the tiers, with this fleet's estimates for one size and length. */
import { call } from './client';
import type { TiersView } from './schema';

/** The video to estimate. */
export interface TiersQuery {
  model?: string | null;
  video_size?: string;
  aspect_ratio?: string | null;
  video_length?: number;
}

export const getTiers = (query: TiersQuery, signal?: AbortSignal) =>
  call<TiersView>('GET', '/api/tiers', { query: { ...query }, signal });

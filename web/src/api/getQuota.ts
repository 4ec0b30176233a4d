/** `GET /api/quota`: how much GPU time the caller's key may use in a day, and has used. */
import { call } from './client';
import type { QuotaView } from './schema';

export const getQuota = (signal?: AbortSignal) => call<QuotaView>('GET', '/api/quota', { signal });

/** `/api/keys`: the keys of the fleet and their quotas. Admins only. */
import { call } from './client';
import type { KeyListView, QuotaBody } from './schema';

export const listKeys = (signal?: AbortSignal) => call<KeyListView>('GET', '/api/keys', { signal });

export const setQuota = (keyId: string, quota: QuotaBody) => call<QuotaBody>('PUT', `/api/keys/${keyId}/quota`, { body: quota });

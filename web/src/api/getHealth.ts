/** `GET /api/health`: the state of the fleet's dependencies. A 503 carries the same body, so it is treated as a result, not as an error. */
import { at } from '../lib/prefix';
import { ApiError } from './client';
import type { HealthView } from './schema';

export async function getHealth(signal?: AbortSignal): Promise<HealthView> {
  const response = await fetch(at('/api/health'), { signal, credentials: 'same-origin' }).catch(() => null);
  const body = (await response?.json().catch(() => null)) as HealthView | null | undefined;
  if (!body?.checks) throw new ApiError('The fleet cannot be reached.', response?.status ?? 0);
  return body;
}

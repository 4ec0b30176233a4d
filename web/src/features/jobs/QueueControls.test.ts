import { expect, test } from 'vitest';
import type { QuotaView } from '../../api/schema';
import { quotaText } from './QueueControls';

const view = (quota: QuotaView['quota']): QuotaView => ({
  quota,
  used_gpu_seconds: 100,
  reserved_gpu_seconds: 50,
  used_usd: 2,
  renews_at: '2026-01-02T00:00:00Z',
});

test('a quota shows what is used and reserved, and a key without one shows nothing', () => {
  expect(quotaText(view({ gpu_seconds_per_day: 600 }))).toBe('150 of 600 GPU seconds today');
  expect(quotaText(view({ usd_per_day: 10 }))).toBe('$3.00 of $10.00 today');
  expect(quotaText(view({}))).toBeNull();
});

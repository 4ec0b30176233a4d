/** A key's quota as words, and as the fields of its form. */
import type { QuotaBody } from '../../api/schema';
import { count, usd } from '../../lib/format';

/** What the form's fields contain; an empty field sets no limit. */
export interface QuotaFields {
  gpu_seconds_per_day: string;
  usd_per_day: string;
}

export const quotaFields = (quota: QuotaBody): QuotaFields => ({
  gpu_seconds_per_day: quota.gpu_seconds_per_day?.toString() ?? '',
  usd_per_day: quota.usd_per_day?.toString() ?? '',
});

const limit = (text: string): number | null => (text.trim() === '' ? null : Number(text));

export const quotaBody = (fields: QuotaFields): QuotaBody => ({
  gpu_seconds_per_day: limit(fields.gpu_seconds_per_day),
  usd_per_day: limit(fields.usd_per_day),
});

/** `600 GPU seconds and $5.00 per day`. */
export function quotaWords({ gpu_seconds_per_day: seconds, usd_per_day: dollars }: QuotaBody): string {
  const limits = [];
  if (seconds != null) limits.push(`${count(seconds)} GPU seconds`);
  if (dollars != null) limits.push(usd(dollars));
  return limits.length > 0 ? `${limits.join(' and ')} per day` : 'No limit';
}

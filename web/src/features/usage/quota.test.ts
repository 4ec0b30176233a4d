import { expect, test } from 'vitest';
import { quotaBody, quotaFields, quotaWords } from './quota';

test('a quota says which limits it sets', () => {
  expect(quotaWords({})).toBe('No limit');
  expect(quotaWords({ gpu_seconds_per_day: 3600, usd_per_day: null })).toBe('3,600 GPU seconds per day');
  expect(quotaWords({ gpu_seconds_per_day: 0, usd_per_day: 5 })).toBe('0 GPU seconds and $5.00 per day');
});

test('an empty field sets no limit, and 0 is a limit', () => {
  expect(quotaBody({ gpu_seconds_per_day: '', usd_per_day: ' ' })).toEqual({ gpu_seconds_per_day: null, usd_per_day: null });
  expect(quotaBody({ gpu_seconds_per_day: '0', usd_per_day: '2.5' })).toEqual({ gpu_seconds_per_day: 0, usd_per_day: 2.5 });
});

test('the form shows a quota as it is set', () => {
  const quota = { gpu_seconds_per_day: 0, usd_per_day: 2.5 };
  expect(quotaBody(quotaFields(quota))).toEqual(quota);
  expect(quotaFields({})).toEqual({ gpu_seconds_per_day: '', usd_per_day: '' });
});

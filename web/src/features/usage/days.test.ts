import { expect, test } from 'vitest';
import { dayOf, daySlots, lastDays } from './days';

test('ranges are whole UTC days and include today', () => {
  const now = Date.parse('2026-03-01T00:30:00Z');
  expect(dayOf(now)).toBe('2026-03-01');
  expect(lastDays(1, now)).toEqual({ from: '2026-03-01', to: '2026-03-01' });
  expect(lastDays(7, now)).toEqual({ from: '2026-02-23', to: '2026-03-01' });
});

test('each day of a range has a slot', () => {
  const slots = daySlots({ from: '2026-02-27', to: '2026-03-02' });
  expect(slots.map(({ atMs }) => dayOf(atMs))).toEqual(['2026-02-27', '2026-02-28', '2026-03-01', '2026-03-02']);
});

/** Details of a run that shared its steps with other jobs, or several devices. */
import { expect, it } from 'vitest';
import { togetherText } from '../stats/Workers';
import { companyText, deviceText } from './JobFacts';

it('names the number of devices only where there are several', () => {
  expect(deviceText({ device: 'cpu', devices: 1 })).toBe('cpu');
  expect(deviceText({ device: 'cpu' })).toBe('cpu');
  expect(deviceText({ device: 'cuda:0,cuda:1', devices: 2 })).toBe('cuda:0,cuda:1, 2 devices together');
});

it('counts the others that shared the steps', () => {
  expect(companyText(2)).toBe('1 other job on average');
  expect(companyText(3.26)).toBe('2.3 other jobs on average');
});

it('a worker says what it can do, and nothing where that is one job on one device', () => {
  expect(togetherText({ devices: 1, batch_max: 1 })).toBe('');
  expect(togetherText({ devices: 4, batch_max: 1 })).toBe(', 4 devices for each video');
  expect(togetherText({ devices: 1, batch_max: 8 })).toBe(', up to 8 videos at once');
});

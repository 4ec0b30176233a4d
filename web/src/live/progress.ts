/** How far each running job is, outside of React: a step of one job must not draw the others again. */
import { useSyncExternalStore } from 'react';
import type { ProgressEvent } from './connection';

const latest = new Map<string, ProgressEvent>();
const listeners = new Map<string, Set<() => void>>();

/** Takes in a progress event; null forgets the job. */
export function setProgress(jobId: string, progress: ProgressEvent | null): void {
  if (progress) latest.set(jobId, progress);
  else latest.delete(jobId);
  for (const listener of listeners.get(jobId) ?? []) listener();
}

/** The newest progress of a job that came over the stream. */
export function useProgress(jobId: string): ProgressEvent | null {
  return useSyncExternalStore(
    (listener) => {
      const mine = listeners.get(jobId) ?? new Set();
      listeners.set(jobId, mine.add(listener));
      return () => {
        mine.delete(listener);
        if (mine.size === 0) listeners.delete(jobId);
      };
    },
    () => latest.get(jobId) ?? null,
  );
}

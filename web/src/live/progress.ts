/** Progress of running jobs, kept outside React state so that a step of one job does not re-render the others. */
import { useSyncExternalStore } from 'react';
import type { ProgressEvent } from './connection';

const latest = new Map<string, ProgressEvent>();
const listeners = new Map<string, Set<() => void>>();

/** Stores a progress event; null removes the job. */
export function setProgress(jobId: string, progress: ProgressEvent | null): void {
  if (progress) latest.set(jobId, progress);
  else latest.delete(jobId);
  for (const listener of listeners.get(jobId) ?? []) listener();
}

/** The latest progress of a job from the event stream. */
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

/** The newest value of each job, kept outside React state so that a change of one job does not re-render the others. */
import { useSyncExternalStore } from 'react';

/** A store of one kind of values: `set` stores a job's value, or removes it with null; `use` is the hook that reads it. */
export function latestOfJobs<Value>(): { set: (jobId: string, value: Value | null) => void; use: (jobId: string) => Value | null } {
  const latest = new Map<string, Value>();
  const listeners = new Map<string, Set<() => void>>();
  return {
    set: (jobId, value) => {
      if (value === null) latest.delete(jobId);
      else latest.set(jobId, value);
      for (const listener of listeners.get(jobId) ?? []) listener();
    },
    use: (jobId) =>
      useSyncExternalStore(
        (listener) => {
          const mine = listeners.get(jobId) ?? new Set();
          listeners.set(jobId, mine.add(listener));
          return () => {
            mine.delete(listener);
            if (mine.size === 0) listeners.delete(jobId);
          };
        },
        () => latest.get(jobId) ?? null,
      ),
  };
}
